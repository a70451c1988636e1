import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { FileSource } from "../../src/sources/file.js";
import { openSource } from "../../src/sources/open.js";
import { readBytes, runSync } from "../../src/sources/reader.js";
import type { ByteInput } from "../../src/sources/source.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();

describe("openSource", () => {
  const bytes = noise(1000);
  const path = join(folder, "kernel");
  writeFileSync(path, bytes);

  const inputs: Readonly<Record<string, ByteInput>> = {
    "a Uint8Array": new Uint8Array([0, ...bytes]).subarray(1),
    "a Buffer": Buffer.from(bytes),
    "an ArrayBuffer": bytes.slice().buffer,
    "a path": path,
    "a file: URL": pathToFileURL(path),
    "a Source": new FileSource(path),
  };
  for (const [kind, input] of Object.entries(inputs)) {
    it(`makes a source of ${kind}`, () => {
      const { source, close } = openSource(input, "kernel");
      assert.equal(source.byteLength, 1000);
      assert.deepEqual(
        Buffer.from(runSync(readBytes(source, 100, 800))),
        Buffer.from(bytes.subarray(100, 900)),
      );
      close();
    });
  }

  it("closes what it opened, and leaves the caller's own source open", async () => {
    const opened = openSource(path, "kernel");
    opened.close();
    await assert.rejects(opened.source.read(new Uint8Array(1), 0), refusal("SOURCE_READ", "closed"));
    const own = new FileSource(path);
    const kept = openSource(own, "kernel");
    assert.equal(kept.source, own);
    kept.close();
    own.readSync(new Uint8Array(1), 0);
    own.close();
  });

  it("names bytes after what they are for, and keeps a source's name", () => {
    assert.equal(openSource(bytes, "initrd").source.name, "initrd");
    assert.equal(openSource(asyncOnly(bytes, "mine"), "initrd").source.name, "mine");
  });

  it("takes an empty input: whether that is wrong is not for it to say", () => {
    assert.equal(openSource(new Uint8Array(0), "initrd").source.byteLength, 0);
  });

  it("is a TypeError for anything else, which it names", () => {
    const others: readonly [unknown, string][] = [
      [undefined, "undefined"],
      [null, "null"],
      [42, "42"],
      [{}, "Object"],
      [[1, 2], "Array"],
      [new DataView(new ArrayBuffer(1)), "DataView"],
      [new Uint16Array(1), "Uint16Array"],
      [new SharedArrayBuffer(1), "SharedArrayBuffer"],
    ];
    for (const [input, said] of others) {
      assert.throws(
        () => openSource(input as ByteInput, "initrd"),
        (error) => {
          assert.ok(error instanceof TypeError);
          assert.match(error.message, new RegExp(`^initrd must be .*got ${said}$`));
          return true;
        },
      );
    }
  });

  it("a path that does not exist is SOURCE_NOT_FOUND", () => {
    assert.throws(() => openSource(join(folder, "no"), "kernel"), refusal("SOURCE_NOT_FOUND", "ENOENT"));
  });
});
