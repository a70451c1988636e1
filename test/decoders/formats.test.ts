import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { decompress, decompressMember, tasks } from "../../src/decoders/index.js";
import { runSync } from "../../src/task/run.js";
import { noise } from "../support/sources.js";
import { codeLike, compress, METHODS, nameOf, ONE_OF_EACH, text } from "./tools.js";

const MIB = 1 << 20;
const LIMIT = { maxDecompressedSize: 64 * MIB };
/** A program with code of this machine: Node itself, a few MiB from its middle. */
const program = readFileSync(process.execPath).subarray(32 * MIB, 37 * MIB);

const INPUTS: Readonly<Record<string, Uint8Array>> = {
  "no bytes": new Uint8Array(0),
  "one byte": Uint8Array.of(0x61),
  text: text(200_000),
  "random bytes": noise(300_001),
  "long runs": new Uint8Array(9 * MIB + 5).fill(7, 0, 5 * MIB),
  "short patterns": Uint8Array.from({ length: 100_000 }, (_, i) => (i >> 12) + (i % (2 + (i >> 13)))),
  "what looks like code": codeLike(150_000),
  "64 KiB": codeLike(65_536),
  "64 KiB and a byte": codeLike(65_537),
  "8 MiB": new Uint8Array(8 * MIB).fill(1, MIB),
  "8 MiB and a byte": new Uint8Array(8 * MIB + 1).fill(1, MIB),
  "a program": program,
};

const same = (found: Uint8Array, expected: Uint8Array): void => {
  // A difference of megabytes would be printed whole.
  assert.equal(found.length, expected.length);
  assert.equal(Buffer.compare(found, expected), 0);
};

describe("decompress", () => {
  for (const method of METHODS) {
    describe(`of ${nameOf(method)}`, () => {
      for (const [name, input] of Object.entries(INPUTS)) {
        it(`gives back ${name}`, () => {
          same(decompress(method.format, compress(method, input), LIMIT), input);
        });
      }
    });
  }

  for (const method of ONE_OF_EACH) {
    const { format } = method;
    const parts = [text(5000), codeLike(70_000), new Uint8Array(0), text(1)];
    const streams = parts.map((part) => compress(method, part));

    if (format !== "lzma") {
      it(`joins ${format} streams that follow each other`, () => {
        same(decompress(format, Buffer.concat(streams), LIMIT), Buffer.concat(parts));
      });
    }

    it(`takes one ${format} stream and says how long it is`, () => {
      if (format === "lz4-legacy") return; // Archives that follow each other are one.
      const { output, consumed } = decompressMember(format, Buffer.concat(streams), LIMIT);
      same(output, text(5000));
      assert.equal(consumed, streams[0]?.length);
    });

    it(`goes in steps through ${format}`, () => {
      const input = compress(method, program);
      let count = 0;
      let last = 0;
      const task = tasks.decode(format, input, LIMIT, false, ({ produced }) => {
        assert.ok(produced >= last && produced <= program.length);
        last = produced;
        count++;
      });
      const { output, consumed } = runSync(task);
      same(output, program);
      assert.equal(consumed, input.length);
      assert.ok(count >= 1, `${count} steps`);
    });
  }

  it("gives every result a buffer of its own", () => {
    const [first, second] = [text(1000), codeLike(1000)];
    const method = ONE_OF_EACH[0];
    assert.ok(method !== undefined);
    const a = decompress(method.format, compress(method, first), LIMIT);
    const b = decompress(method.format, compress(method, second), LIMIT);
    assert.notEqual(a.buffer, b.buffer);
    same(a, first);
  });

  it("decodes two streams in turns", () => {
    const method = ONE_OF_EACH.find(({ format }) => format === "zstd");
    assert.ok(method !== undefined);
    const other = program.slice().reverse();
    const a = tasks.decode("zstd", compress(method, program), LIMIT, false);
    const b = tasks.decode("zstd", compress(method, other), LIMIT, false);
    let [x, y] = [a.next(), b.next()];
    while (x.done !== true) x = a.next();
    while (y.done !== true) y = b.next();
    same(x.value.output, program);
    same(y.value.output, other);
  });
});
