/**
 * Initrds as Linux reads them (init/initramfs.c): what the guest gets plain has the files that the members had. An
 * independent reader of newc archives says which these are.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError } from "../../src/base/errors.js";
import * as decoders from "../../src/decoders/index.js";
import { loadLinux } from "../../src/linux/load-linux.js";
import { loadLinuxSync } from "../../src/linux/load-linux-sync.js";
import type { LinuxGuest } from "../../src/linux/loaded-linux.js";
import { newcArchive } from "../boot/support/initramfs.js";
import { compress, type Method, nameOf, ONE_OF_EACH } from "../decoders/tools.js";
import { compressible, makeVmlinux } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";

const RAM = 64 << 20;
const kernel = makeVmlinux(100_000);
/** The formats that Linux knows: all but the frames of LZ4. */
const KNOWN = ONE_OF_EACH;
const GZIP: Method = { format: "gzip", tool: "gzip", args: ["-9c"] };
const ZSTD: Method = { format: "zstd", tool: "zstd", args: ["-q", "-c"] };

type Initrd = Parameters<typeof loadLinux>[0]["initrd"];

function initrdOf({ memory, info }: LinuxGuest): Uint8Array {
  assert.ok(info.initrd !== undefined);
  return memory.read(info.initrd.gpa, Number(info.initrd.size));
}

function plain(initrd: Parameters<typeof loadLinuxSync>[0]["initrd"], more: object = {}): Uint8Array {
  return initrdOf(loadLinuxSync({ kernel, memory: RAM, initrd, decompressInitrd: true, decoders, ...more }));
}

async function plainAsync(initrd: Initrd): Promise<Uint8Array> {
  return initrdOf(await loadLinux({ kernel, memory: RAM, initrd, decompressInitrd: true }));
}

/**
 * The files of an initramfs without compression, as `unpack_to_rootfs` finds them: headers at multiples of 4 bytes from
 * its start, zeros between records skipped. Throws where Linux says that something is broken.
 */
function readNewc(bytes: Uint8Array): Map<string, string> {
  const files = new Map<string, string>();
  const text = (from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).toString("latin1");
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    assert.equal(at % 4, 0, `a header at ${at}`);
    assert.equal(text(at, at + 6), "070701", `no header at ${at}`);
    const field = (index: number): number => Number(`0x${text(at + 6 + 8 * index, at + 14 + 8 * index)}`);
    const name = text(at + 110, at + 110 + field(11) - 1);
    const data = (at + 110 + field(11) + 3) & ~3;
    assert.ok(data + field(6) <= bytes.length, "it ends within a file");
    if (name !== "TRAILER!!!") files.set(name, text(data, data + field(6)));
    at = (data + field(6) + 3) & ~3;
  }
  return files;
}

function archive(name: string, data: Uint8Array): Uint8Array {
  return newcArchive([{ type: "file", name, data }]);
}

/** Without the zeros at its end, but for those of the last record: a NUL, and what makes it a multiple of 4. */
function trimmed(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (bytes[end - 1] === 0) end--;
  return bytes.subarray(0, Math.ceil((end + 1) / 4) * 4);
}

describe("decompressInitrd", () => {
  const main = archive("main", compressible(3 << 20));
  const early = archive("kernel/x86/microcode/GenuineIntel.bin", noise(5001));

  for (const method of KNOWN) {
    it(`hands over the archive in ${nameOf(method)}, byte for byte`, async () => {
      const packed = compress(method, main);
      assert.ok(isSame(plain(packed), main));
      assert.ok(isSame(await plainAsync(packed), main));
    });

    it(`takes an early archive before ${nameOf(method)}, and one behind it`, async () => {
      const packed = compress(method, main);
      const padded = new Uint8Array(Math.ceil(packed.length / 4) * 4);
      padded.set(packed);
      const initrd = Buffer.concat([early, padded, archive("last", noise(10))]);
      const files = readNewc(plain(initrd));
      assert.deepEqual([...files.keys()], ["kernel/x86/microcode/GenuineIntel.bin", "main", "last"]);
      assert.ok(isSame(await plainAsync(initrd), plain(initrd)));
    });
  }

  it("is off unless it is asked for: the guest gets what was given", async () => {
    const packed = compress(ZSTD, main);
    for (const decompressInitrd of [undefined, false]) {
      const guest = await loadLinux({ kernel, memory: RAM, initrd: packed, decompressInitrd });
      assert.ok(isSame(initrdOf(guest), packed));
    }
  });

  it("leaves plain archives as they are", async () => {
    assert.ok(isSame(plain(main), main));
    assert.ok(
      isSame(
        plain(Buffer.concat([early, new Uint8Array(512), main])),
        Buffer.concat([early, new Uint8Array(512), main]),
      ),
    );
    const guest = loadLinuxSync({ kernel, memory: RAM, initrd: main, decompressInitrd: true });
    assert.ok(isSame(initrdOf(guest), main), "without decoders, too");
  });

  it("takes several inputs, each from bytes, a Blob, a source or a stream of unknown length", async () => {
    const inputs = [
      early,
      new Blob([compress(GZIP, main) as Uint8Array<ArrayBuffer>]),
      asyncOnly(compress(ZSTD, archive("a", noise(77)))),
      makeStream(
        Buffer.concat(
          [compress(GZIP, archive("b", noise(78))), archive("c", noise(5))].map((part, index) =>
            index === 0 ? Buffer.concat([part, Buffer.alloc((4 - (part.length % 4)) % 4)]) : part,
          ),
        ),
      ).stream,
    ];
    const files = readNewc(await plainAsync(inputs));
    assert.deepEqual([...files.keys()], ["kernel/x86/microcode/GenuineIntel.bin", "main", "a", "b", "c"]);
    assert.ok(isSame(Buffer.from(files.get("main") ?? "", "latin1"), compressible(3 << 20)));
  });

  it("gives the files of any mix of members, with any zeros between, as Linux finds them", () => {
    const member = fc.record({
      method: fc.constantFrom(undefined, ...KNOWN.filter(({ format }) => format !== "bzip2")),
      size: fc.nat(5000),
      isTrimmed: fc.boolean(),
      zeros: fc.nat(40),
    });
    fc.assert(
      fc.property(fc.array(member, { minLength: 1, maxLength: 4 }), fc.nat(3), (members, split) => {
        const expected = new Map<string, string>();
        const inputs: Uint8Array[] = [];
        let parts: Uint8Array[] = [];
        let length = 0;
        const append = (bytes: Uint8Array): void => {
          parts.push(bytes);
          length += bytes.length;
        };
        members.forEach(({ method, size, isTrimmed, zeros }, index) => {
          const data = noise(size, index + 1);
          const whole = archive(`file-${index}`, data);
          const bytes = isTrimmed ? trimmed(whole) : whole;
          expected.set(`file-${index}`, Buffer.from(data).toString("latin1"));
          // Headers lie at multiples of 4; compressed members anywhere.
          if (method === undefined) append(new Uint8Array((4 - (length % 4)) % 4));
          append(method === undefined ? bytes : compress(method, bytes));
          // A part of a block makes no end of an archive of legacy LZ4, but zeros do.
          append(new Uint8Array(method?.format === "lz4-legacy" ? zeros + 4 : zeros));
          if (index === split) {
            inputs.push(Buffer.concat(parts));
            parts = [];
            length = 0;
          }
        });
        if (parts.length > 0) inputs.push(Buffer.concat(parts));
        assert.deepEqual(readNewc(plain(inputs)), expected);
      }),
      { numRuns: 40 },
    );
  });

  it("leaves to the kernel what is no archive, where it was", () => {
    const packed = compress(GZIP, main);
    for (const rest of [
      noise(100, 3),
      Buffer.from("0707"),
      Buffer.from(`070701${"f".repeat(104)}`),
      Buffer.from(`070701${"-0000001".repeat(13)}`),
      Buffer.from(`070701${"zzzzzzzz".repeat(13)}`),
    ]) {
      assert.ok(isSame(plain(rest), rest));
      const both = plain(Buffer.concat([packed, rest]));
      assert.ok(isSame(both.subarray(0, main.length), main));
      // As far from a multiple of 4 as in the initrd.
      const at = both.length - rest.length;
      assert.equal(at % 4, packed.length % 4);
      assert.ok(isSame(both.subarray(at), rest));
    }
  });

  it("takes any headers without an end that never comes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("0", "1", "6e", "7fffffff", "ffffffff", "-1", "x"), {
          minLength: 13,
          maxLength: 13,
        }),
        fc.nat(300),
        (fields, length) => {
          const header = Buffer.from(`070701${fields.map((field) => field.padStart(8, "0")).join("")}`);
          const initrd = Buffer.concat([header, header, noise(length), Buffer.alloc(3)]);
          try {
            plain(initrd);
          } catch (cause) {
            assert.ok(cause instanceof DirectBootError, `${cause}`);
          }
        },
      ),
      { numRuns: 200 },
    );
    // Millions of the least records there can be.
    const least = Buffer.from(`070701${"0".repeat(104)}\0\0`);
    const many = Buffer.concat(new Array<Buffer>(200_000).fill(least));
    assert.ok(isSame(plain(many), many));
  });

  it("refuses one without anything in it", () => {
    for (const nothing of [new Uint8Array(4096), compress(GZIP, new Uint8Array(0)), new Uint8Array(0)]) {
      assert.throws(() => plain(nothing), refusal("SOURCE_EMPTY", "initrd"));
    }
  });

  it("limits what all of them have together", () => {
    const half = compress(ZSTD, new Uint8Array(600_000));
    plain([half, early], { maxDecompressedSize: 600_000 });
    for (const initrd of [[half, half], [Buffer.concat([half, half])]]) {
      assert.throws(() => plain(initrd, { maxDecompressedSize: 1_000_000 }), refusal("DECOMPRESS_TOO_LARGE"));
    }
    const bomb = compress(ZSTD, new Uint8Array(RAM + 1));
    assert.throws(() => plain(bomb), refusal("GUEST_MEMORY_TOO_SMALL", `${RAM}`));
  });

  it("names what is broken, and memory is as it was", () => {
    for (const method of KNOWN) {
      const packed = compress(method, main);
      assert.throws(
        () => plain(Buffer.concat([early, packed.subarray(0, packed.length >> 1)])),
        (error) =>
          error instanceof DirectBootError &&
          /^DECOMPRESS_/.test(error.code) &&
          /at byte \d+/.test(error.message),
        nameOf(method),
      );
    }
  });

  it("needs decoders in the synchronous functions, but for gzip", () => {
    assert.ok(isSame(plain(compress(GZIP, main), { decoders: undefined }), main));
    assert.throws(
      () => plain(compress(ZSTD, main), { decoders: undefined }),
      refusal("DECOMPRESS_UNSUPPORTED", "initrd", "directboot/decoders"),
    );
  });

  it("heeds the signal between two steps", async () => {
    const controller = new AbortController();
    const initrd = compress(ZSTD, new Uint8Array(40 << 20));
    const onProgress = (): void => controller.abort();
    await assert.rejects(
      loadLinux({
        kernel,
        memory: RAM,
        initrd,
        decompressInitrd: true,
        signal: controller.signal,
        onProgress,
      }),
      refusal("ABORTED"),
    );
  });
});
