import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { BytesSource } from "../../src/sources/bytes.js";
import { FileSource } from "../../src/sources/file.js";
import { type Source, UNKNOWN_LENGTH } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { gunzipSource } from "../../src/unpack/gzip-stream.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();
const maxDecompressedSize = 1 << 24;

/** Half noise, half text: neither stored nor tiny. */
const PLAIN = Buffer.concat([
  noise(150_000),
  Buffer.from("Linux version ".repeat(12_000)),
  Buffer.alloc(50_000),
]);

/** The gzip tool's output for bytes. */
function gzip(bytes: Uint8Array, args: readonly string[] = [], name = "plain"): Buffer {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  runTool("gzip", "gzip", ["-kf", ...args, path]);
  return readFileSync(`${path}.gz`);
}

const sources: Readonly<Record<string, (bytes: Uint8Array) => Source>> = {
  bytes: (bytes) => new BytesSource(bytes),
  "an asynchronous source": asyncOnly,
  "a stream": (bytes) => new StreamSource(makeStream(bytes, { chunks: [7, 1000, 0, 40_000] }).stream),
};

async function unpacked(source: Source, most = maxDecompressedSize): Promise<Uint8Array> {
  const whole = await gunzipSource(source, { maxDecompressedSize: most }).spoolWhole(most);
  const target = new Uint8Array(whole.byteLength);
  whole.readSync(target, 0);
  return target;
}

const good: Readonly<Record<string, () => [Uint8Array, Uint8Array]>> = {
  "a file of gzip": () => [gzip(PLAIN), PLAIN],
  "a file of gzip -n -9": () => [gzip(PLAIN, ["-n", "-9"]), PLAIN],
  "a file of gzip -1": () => [gzip(PLAIN, ["-1"]), PLAIN],
  "an empty file": () => [gzip(Buffer.alloc(0)), Buffer.alloc(0)],
  "a file of zeros": () => [gzip(Buffer.alloc(300_000)), Buffer.alloc(300_000)],
  "members behind each other": () => [
    Buffer.concat([gzip(PLAIN), gzip(Buffer.from("second"), ["-n"])]),
    Buffer.concat([PLAIN, Buffer.from("second")]),
  ],
  "a member and one zero": () => [Buffer.concat([gzip(PLAIN), Buffer.alloc(1)]), PLAIN],
  "a member and many zeros": () => [Buffer.concat([gzip(PLAIN), Buffer.alloc(100_000)]), PLAIN],
  "nothing and zeros": () => [Buffer.concat([gzip(Buffer.alloc(0)), Buffer.alloc(512)]), Buffer.alloc(0)],
};

describe("a gzip source", () => {
  for (const [what, make] of Object.entries(good)) {
    it(`decompresses ${what}, from any source`, async () => {
      const [packed, plain] = make();
      for (const [kind, source] of Object.entries(sources)) {
        assert.ok(isSame(await unpacked(source(packed)), plain), kind);
      }
    });
  }

  it("is a stream of unknown length, named as the file, which reads only what it needs", async () => {
    const path = join(folder, "big.gz");
    writeFileSync(path, gzipSync(noise(4 << 20)));
    const file = new FileSource(path);
    let furthest = 0;
    const watched: Source = {
      name: "big.gz",
      byteLength: file.byteLength,
      read: (target, offset) => {
        furthest = Math.max(furthest, offset + target.byteLength);
        return file.read(target, offset);
      },
    };
    const source = gunzipSource(watched, { maxDecompressedSize: 1 << 30 });
    assert.equal(source.name, "big.gz");
    assert.equal(source.byteLength, UNKNOWN_LENGTH);
    const head = new Uint8Array(1000);
    await source.read(head, 0);
    assert.ok(isSame(head, noise(4 << 20).subarray(0, 1000)));
    assert.ok(furthest < 2 << 20, `${furthest}`);
    source.cancel();
    file.close();
  });

  it("with more than maxDecompressedSize is DECOMPRESS_TOO_LARGE, at exactly one byte more", async () => {
    const packed = gzip(PLAIN);
    const matches = refusal("DECOMPRESS_TOO_LARGE", `${PLAIN.byteLength - 1}`);
    await assert.rejects(
      gunzipSource(asyncOnly(packed), { maxDecompressedSize: PLAIN.byteLength - 1 }).spoolWhole(),
      matches,
    );
    assert.ok(isSame(await unpacked(asyncOnly(packed), PLAIN.byteLength), PLAIN));
  });

  it("that is a bomb stops at the limit", async () => {
    const bomb = gzipSync(new Uint8Array(200 << 20), { level: 9 });
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }, 1);
    try {
      const source = gunzipSource(asyncOnly(bomb), { maxDecompressedSize: 1 << 20 });
      await assert.rejects(source.spoolWhole(), refusal("DECOMPRESS_TOO_LARGE"));
    } finally {
      clearInterval(watch);
    }
    assert.ok(most < 32 << 20, `${most} bytes`);
  });
});

describe("gzip data that is damaged", () => {
  const packed = gzipSync(PLAIN.subarray(100_000, 200_000));

  it("by truncation is DECOMPRESS_CORRUPT, wherever it is cut", async () => {
    for (const length of [
      0,
      1,
      2,
      5,
      9,
      10,
      11,
      1000,
      packed.length >> 1,
      ...[9, 8, 7, 4, 1].map((n) => packed.length - n),
    ]) {
      const cut = packed.subarray(0, length);
      for (const source of Object.values(sources)) {
        await assert.rejects(unpacked(source(cut)), refusal("DECOMPRESS_CORRUPT", "byte"), `${length}`);
      }
    }
  });

  it("by not being gzip at all is DECOMPRESS_CORRUPT", async () => {
    for (const bytes of [Buffer.from("hello"), noise(1000), Buffer.alloc(100)]) {
      for (const source of Object.values(sources)) {
        await assert.rejects(unpacked(source(bytes)), refusal("DECOMPRESS_CORRUPT"));
      }
    }
  });

  it("in the second member is DECOMPRESS_CORRUPT", async () => {
    const both = Buffer.concat([packed, packed.subarray(0, -1)]);
    await assert.rejects(unpacked(asyncOnly(both)), refusal("DECOMPRESS_CORRUPT"));
  });
});

describe("a compressed source that fails or is aborted", () => {
  const packed = gzipSync(noise(3 << 20));

  it("is what it failed with, at any read, and nothing goes unhandled", async () => {
    const reason = new Error("the disk is gone");
    for (let failAt = 0; failAt < 12; failAt++) {
      const source = gunzipSource(new BreakingSource(packed, failAt, reason), { maxDecompressedSize });
      await assert.rejects(source.spoolWhole(), refusalBecause("SOURCE_READ", reason));
    }
  });

  it("is read to its trailer by checkEnd, when nothing else of it is wanted", async () => {
    for (const isDamaged of [false, true]) {
      const bytes = Buffer.from(packed);
      if (isDamaged) bytes.writeUInt8(bytes.readUInt8(bytes.length - 8) ^ 1, bytes.length - 8);
      const made = makeStream(bytes, { chunks: [10_000] });
      const source = gunzipSource(new StreamSource(made.stream), { maxDecompressedSize });
      source.startStreaming([{ start: 10, end: 1000 }]);
      const target = new Uint8Array(990);
      await source.read(target, 10);
      assert.ok(isSame(target, PLAIN.subarray(10, 1000)));
      assert.ok(!made.isCancelled());
      if (isDamaged) await assert.rejects(source.checkEnd(), refusal("DECOMPRESS_CORRUPT"));
      else await source.checkEnd();
    }
  });

  it("ends the compressed stream when it is aborted, corrupt, or done with", async () => {
    for (const end of ["abort", "corrupt", "cancel"] as const) {
      const controller = new AbortController();
      const bytes = Buffer.from(packed);
      if (end === "corrupt") bytes.fill(0xff, 10, 20);
      const made = makeStream(bytes, {
        chunks: [10_000],
        onPull: (chunk) => {
          if (end === "abort" && chunk === 20) controller.abort();
        },
      });
      const source = gunzipSource(new StreamSource(made.stream), { maxDecompressedSize });
      if (end === "abort")
        await assert.rejects(source.spoolWhole(undefined, controller.signal), refusal("ABORTED"));
      if (end === "corrupt") await assert.rejects(source.spoolWhole(), refusal("DECOMPRESS_CORRUPT"));
      if (end === "cancel") await source.read(new Uint8Array(990), 10);
      if (end === "cancel") source.cancel();
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.ok(made.isCancelled(), end);
    }
  });

  it("without a decompressor is DECOMPRESS_UNSUPPORTED, which names the format", () => {
    const kept = globalThis.DecompressionStream;
    const set = (name: string, value: unknown): void => {
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    };
    try {
      set("DecompressionStream", undefined);
      const source = new BytesSource(packed);
      assert.throws(
        () => gunzipSource(source, { maxDecompressedSize }),
        refusal("DECOMPRESS_UNSUPPORTED", "gzip"),
      );
      set(
        "DecompressionStream",
        class {
          constructor() {
            throw new TypeError("unknown format");
          }
        },
      );
      assert.throws(
        () => gunzipSource(source, { maxDecompressedSize }),
        refusal("DECOMPRESS_UNSUPPORTED", "gzip"),
      );
    } finally {
      set("DecompressionStream", kept);
    }
  });

  it("behind which something else follows is refused as a stream, and that is said", async () => {
    const packed = Buffer.concat([gzipSync(PLAIN), Buffer.from("a device tree")]);
    const plain = gunzipSource(new BytesSource(packed), { maxDecompressedSize });
    await assert.rejects(
      async () => await plain.read(new Uint8Array(PLAIN.byteLength + 1), 0),
      refusal("DECOMPRESS_CORRUPT", "nothing but zeros follows"),
    );
  });

  it("over a decompressor that refuses what follows a member, as browsers' do, takes zeros behind it", async () => {
    const kept = globalThis.DecompressionStream;
    const plain = PLAIN.subarray(0, 200_000);
    const member = gzipSync(plain);
    /** One member, and a TypeError for more, as the Compression Streams standard has it. */
    class Strict {
      readonly readable: ReadableStream<Uint8Array>;
      readonly writable: WritableStream<Uint8Array>;
      constructor() {
        let came = 0;
        const one = new TransformStream<Uint8Array, Uint8Array>({
          transform: (chunk, controller) => {
            const before = came;
            came += chunk.byteLength;
            const part = (at: number): number =>
              Math.floor((Math.min(at, member.length - 8) / (member.length - 8)) * plain.length);
            if (part(came) > part(before)) controller.enqueue(plain.slice(part(before), part(came)));
            if (came > member.length) throw new TypeError("Junk found after end of compressed data.");
          },
          flush: () => {
            if (came < member.length) throw new TypeError("Compressed input was truncated.");
          },
        });
        this.readable = one.readable;
        this.writable = one.writable;
      }
    }
    try {
      Object.defineProperty(globalThis, "DecompressionStream", {
        value: Strict,
        configurable: true,
        writable: true,
      });
      for (const zeros of [0, 1, 2, 7, 100, 300_000]) {
        const padded = Buffer.concat([member, Buffer.alloc(zeros)]);
        for (const source of Object.values(sources)) {
          assert.ok(isSame(await unpacked(source(padded)), plain), `${zeros} zeros`);
        }
      }
      await assert.rejects(unpacked(asyncOnly(member.subarray(0, -3))), refusal("DECOMPRESS_CORRUPT"));
    } finally {
      Object.defineProperty(globalThis, "DecompressionStream", {
        value: kept,
        configurable: true,
        writable: true,
      });
    }
  });
});
