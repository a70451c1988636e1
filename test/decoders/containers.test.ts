import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  type CompressionFormat,
  DECODER_SCRATCH_BYTES,
  decoders,
  decompress,
  decompressInto,
  decompressMember,
  tasks,
} from "../../src/decoders/index.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { codeLike, compress, type Method, ONE_OF_EACH, pipe, text } from "./tools.js";

const INPUT = Buffer.concat([text(50_000), codeLike(30_000)]);
const LIMIT = { maxDecompressedSize: 1 << 24 };
const MIB = 1 << 20;

const make = (format: CompressionFormat, input: Uint8Array = INPUT): Uint8Array<ArrayBuffer> => {
  const method = ONE_OF_EACH.find((one) => one.format === format);
  assert.ok(method !== undefined);
  return compress(method, input);
};
const same = (found: Uint8Array, expected: Uint8Array): void => {
  assert.equal(Buffer.compare(found, expected), 0);
};
/** The stream with the byte at `at` (from the end if negative) replaced. */
const changed = (stream: Uint8Array, at: number, byte: number): Uint8Array => {
  const copy = stream.slice();
  copy[at < 0 ? copy.length + at : at] = byte;
  return copy;
};

describe("bytes behind a stream", () => {
  for (const { format } of ONE_OF_EACH) {
    const stream = make(format);
    const trailer = Uint8Array.of(0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x11);

    it(`of ${format} are refused`, () => {
      assert.throws(
        () => decompress(format, Buffer.concat([stream, trailer]), LIMIT),
        refusal("DECOMPRESS_TRAILING_DATA", "9 more follow"),
      );
    });

    it(`of ${format} are allowed by allowTrailing, with and without the size`, () => {
      const input = Buffer.concat([stream, trailer]);
      same(decompress(format, input, { ...LIMIT, allowTrailing: true }), INPUT);
      const expectedBytes = INPUT.length;
      same(decompress(format, input, { ...LIMIT, allowTrailing: true, expectedBytes }), INPUT);
    });

    it(`of ${format} may be the kernel's four bytes of size`, () => {
      const size = new Uint8Array(4);
      new DataView(size.buffer).setUint32(0, INPUT.length, true);
      const input = Buffer.concat([stream, size]);
      same(decompress(format, input, { ...LIMIT, allowTrailing: true }), INPUT);
      // gzip has its size within.
      if (format === "gzip") return;
      same(decompress(format, input, LIMIT), INPUT);
      const wrong = changed(input, -4, 0xff);
      assert.throws(() => decompress(format, wrong, LIMIT), refusal("DECOMPRESS_TRAILING_DATA"));
    });

    it(`of ${format} are not taken by decompressMember`, () => {
      const { output, consumed } = decompressMember(format, Buffer.concat([stream, trailer]), LIMIT);
      same(output, INPUT);
      assert.equal(consumed, stream.length);
    });

    it(`of ${format} are ignored if they are zeros, in whatever number`, () => {
      for (const zeros of [1, 3, 4, 512]) {
        same(decompress(format, Buffer.concat([stream, new Uint8Array(zeros)]), LIMIT), INPUT);
      }
    });
  }

  for (const implementation of ["auto", "javascript"] as const) {
    it(`of gzip are members that a limit does not cut off, with the decoders ${implementation}`, () => {
      const input = Buffer.concat([make("gzip"), make("gzip")]);
      const expectedBytes = INPUT.length;
      decoders.use(implementation);
      try {
        assert.throws(
          () => decompress("gzip", input, { maxDecompressedSize: expectedBytes, allowTrailing: true }),
          refusal("DECOMPRESS_TOO_LARGE", `${expectedBytes}`),
        );
        // A declared size does.
        same(decompress("gzip", input, { ...LIMIT, expectedBytes, allowTrailing: true }), INPUT);
      } finally {
        decoders.use("auto");
      }
    });
  }

  it("of xz may be padding and another stream", () => {
    const input = Buffer.concat([make("xz"), new Uint8Array(8), make("xz")]);
    same(decompress("xz", input, LIMIT), Buffer.concat([INPUT, INPUT]));
  });
});

describe("limits", () => {
  const folder = tempFolder();
  for (const { format } of ONE_OF_EACH) {
    const stream = make(format);
    it(`of ${format} are exact`, () => {
      same(decompress(format, stream, { maxDecompressedSize: INPUT.length }), INPUT);
      assert.throws(
        () => decompress(format, stream, { maxDecompressedSize: INPUT.length - 1 }),
        refusal("DECOMPRESS_TOO_LARGE", `${INPUT.length - 1}`),
      );
      assert.throws(
        () => decompress(format, stream, { maxDecompressedSize: 0 }),
        refusal("DECOMPRESS_TOO_LARGE"),
      );
    });

    it(`of ${format} compare the output with the size that is expected`, () => {
      for (const difference of [-1, 1]) {
        assert.throws(
          () => decompress(format, stream, { ...LIMIT, expectedBytes: INPUT.length + difference }),
          refusal("DECOMPRESS_WRONG_SIZE", `${INPUT.length + difference}`),
        );
      }
      same(decompress(format, stream, { ...LIMIT, expectedBytes: INPUT.length }), INPUT);
    });

    it(`of ${format} stop a bomb`, () => {
      const bomb = make(format, new Uint8Array(64 * MIB));
      const before = process.memoryUsage().arrayBuffers;
      assert.throws(
        () => decompress(format, bomb, { maxDecompressedSize: MIB }),
        refusal("DECOMPRESS_TOO_LARGE"),
      );
      assert.ok(process.memoryUsage().arrayBuffers - before < 32 * MIB);
    });
  }

  it("refuse an expected size beyond them before they look at the input", () => {
    assert.throws(
      () => decompress("gzip", new Uint8Array(0), { maxDecompressedSize: 10, expectedBytes: 11 }),
      refusal("DECOMPRESS_TOO_LARGE", "11", "10"),
    );
  });

  it("are compared to the sizes in headers before anything is decoded", () => {
    const zstd = pipe("zstd", ["-q", "-c", "--content-size", "--stream-size=80000"], INPUT);
    const file = join(folder, "input");
    writeFileSync(file, INPUT);
    const lz4 = pipe("lz4", ["-q", "-c", "--content-size", file], new Uint8Array(0));
    for (const [format, stream] of [["zstd", zstd] as const, ["lz4", lz4] as const]) {
      // Only the header is there.
      const head = stream.slice(0, 20);
      assert.throws(
        () => decompress(format, head, { maxDecompressedSize: 79_999 }),
        refusal("DECOMPRESS_TOO_LARGE"),
      );
    }
  });
});

describe("what is not supported", () => {
  it("is a dictionary of Zstandard", () => {
    // A frame header with a dictionary identifier of one byte.
    const stream = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x58, 0x07, 0x01, 0, 0);
    assert.throws(() => decompress("zstd", stream, LIMIT), refusal("DECOMPRESS_UNSUPPORTED", "dictionary"));
  });

  it("is an unknown filter of xz", () => {
    const stream = pipe("xz", ["-c", "--ia64", "--lzma2=preset=0"], INPUT);
    assert.throws(() => decompress("xz", stream, LIMIT), refusal("DECOMPRESS_UNSUPPORTED", "filter 0x6"));
  });

  it("is lzma with a table of more than 2^4 literal coders", () => {
    const stream = changed(make("lzma"), 0, 8 + 9 * 4);
    assert.throws(() => decompress("lzma", stream, LIMIT), refusal("DECOMPRESS_UNSUPPORTED", "lc + lp"));
  });

  it("is a format without a name", () => {
    // @ts-expect-error: not a format
    assert.throws(() => decompress("zip", new Uint8Array(4), LIMIT), TypeError);
    // @ts-expect-error: no limit
    assert.throws(() => decompress("gzip", new Uint8Array(4), {}), TypeError);
    // @ts-expect-error: not bytes
    assert.throws(() => decompress("gzip", "text", LIMIT), TypeError);
  });
});

describe("headers", () => {
  it("of gzip may have every field", () => {
    const plain = make("gzip");
    // FEXTRA, FNAME, FCOMMENT, FHCRC
    const fields = Buffer.concat([
      plain.subarray(0, 3),
      Uint8Array.of(0x1e),
      plain.subarray(4, 10),
      Uint8Array.of(3, 0, 1, 2, 3),
      Buffer.from("name\0comment\0"),
      Uint8Array.of(0, 0),
      plain.subarray(10),
    ]);
    same(decompress("gzip", fields, LIMIT), INPUT);
  });

  it("of other formats are refused with their place", () => {
    for (const { format } of ONE_OF_EACH) {
      if (format === "lzma") continue; // has no magic number
      assert.throws(() => decompress(format, noise(100), LIMIT), refusal("DECOMPRESS_CORRUPT", "at byte"));
    }
  });

  it("of Zstandard and LZ4 frames may be skipped", () => {
    const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
    for (const format of ["zstd", "lz4"] as const) {
      const stream = make(format);
      same(
        decompress(format, Buffer.concat([skippable, stream, skippable, stream, skippable]), LIMIT),
        Buffer.concat([INPUT, INPUT]),
      );
    }
  });

  it("of lzma with an end marker is cut off wherever it ends before that, and at no byte behind its end", () => {
    for (const input of [new Uint8Array(0), Buffer.from("a"), noise(30), text(500)]) {
      const stream = pipe("xz", ["-c", "--format=lzma"], input);
      for (let length = 14; length < stream.byteLength; length++) {
        assert.throws(
          () => decompress("lzma", stream.subarray(0, length), LIMIT),
          refusal("DECOMPRESS_TRUNCATED", `byte ${length}`),
          `${length} of ${stream.byteLength}`,
        );
      }
    }
  });

  it("of lzma may hold the size, and the stream still an end marker", () => {
    const stream = make("lzma");
    new DataView(stream.buffer).setUint32(5, INPUT.length, true);
    new DataView(stream.buffer).setUint32(9, 0, true);
    same(decompress("lzma", stream, LIMIT), INPUT);
    new DataView(stream.buffer).setUint32(5, INPUT.length - 1, true);
    assert.throws(() => decompress("lzma", stream, LIMIT), refusal("DECOMPRESS_CORRUPT"));
    new DataView(stream.buffer).setUint32(5, INPUT.length + 1, true);
    assert.throws(() => decompress("lzma", stream, LIMIT), refusal("DECOMPRESS_WRONG_SIZE"));
  });
});

describe("checksums", () => {
  const methods: readonly [string, CompressionFormat, Uint8Array, number][] = [
    ["gzip's CRC-32", "gzip", make("gzip"), -8],
    ["Zstandard's xxHash", "zstd", make("zstd"), -1],
    ["LZ4's xxHash", "lz4", make("lz4"), -1],
  ];
  for (const [name, format, stream, at] of methods) {
    it(`are compared: ${name}`, () => {
      const last = stream.at(at) ?? 0;
      assert.throws(
        () => decompress(format, changed(stream, at, last ^ 1), LIMIT),
        refusal("DECOMPRESS_CHECKSUM"),
      );
    });
  }

  it("are compared: the checks of xz", () => {
    for (const [check, bytes] of [
      ["crc32", 4],
      ["crc64", 8],
      ["sha256", 32],
    ] as const) {
      const stream = pipe("xz", ["-c", "-0", `--check=${check}`], INPUT);
      same(decompress("xz", stream, LIMIT), INPUT);
      // The index of one block is behind the check; its size stands in the footer, in words less one.
      const index = (new DataView(stream.buffer).getUint32(stream.length - 8, true) + 1) * 4;
      const at = -12 - index - bytes;
      assert.throws(
        () => decompress("xz", changed(stream, at, (stream.at(at) ?? 0) ^ 0x80), LIMIT),
        refusal("DECOMPRESS_CHECKSUM", "check"),
      );
    }
  });
});

describe("decompressInto", () => {
  const memory = new WebAssembly.Memory({ initial: 32 });
  const target = { memory, offset: 5, byteLength: 100_000 };

  for (const { format } of ONE_OF_EACH) {
    it(`puts ${format} in place, with and without scratch`, () => {
      const stream = make(format);
      for (const scratchOffset of [undefined, 200_001]) {
        const bytes = new Uint8Array(memory.buffer).fill(0xee);
        const length = decompressInto(format, stream, { ...target, scratchOffset }, LIMIT);
        assert.equal(length, INPUT.length);
        same(bytes.slice(5, 5 + length), INPUT);
      }
    });

    it(`refuses ${format} that does not fit`, () => {
      const small = { ...target, byteLength: INPUT.length - 1, scratchOffset: 200_000 };
      assert.throws(
        () => decompressInto(format, make(format), small, LIMIT),
        refusal("DECOMPRESS_TOO_LARGE"),
      );
      const exact = { ...target, byteLength: INPUT.length, scratchOffset: 200_000 };
      assert.equal(decompressInto(format, make(format), exact, LIMIT), INPUT.length);
    });
  }

  it("works in a shared memory", () => {
    const shared = new WebAssembly.Memory({ initial: 32, maximum: 32, shared: true });
    const length = decompressInto(
      "xz",
      make("xz"),
      { ...target, memory: shared, scratchOffset: 200_000 },
      LIMIT,
    );
    same(new Uint8Array(shared.buffer).slice(5, 5 + length), INPUT);
  });

  it("works in the upper half of 4 GiB", () => {
    const large = new WebAssembly.Memory({ initial: 49_152 });
    const offset = 2 ** 31 + 2 ** 29;
    for (const { format } of ONE_OF_EACH) {
      const place = { memory: large, offset, byteLength: 100_000, scratchOffset: 2 ** 31 - 300_000 };
      const length = decompressInto(format, make(format), place, LIMIT);
      same(new Uint8Array(large.buffer, offset, length).slice(), INPUT);
    }
  });

  it("leaves its scratch and what follows the output zero", () => {
    const bytes = new Uint8Array(memory.buffer).fill(0xee);
    const length = decompressInto("zstd", make("zstd"), { ...target, scratchOffset: 200_000 }, LIMIT);
    assert.ok(bytes.subarray(5 + length, 5 + length + 64).every((byte) => byte === 0));
    assert.ok(bytes.subarray(200_000, 200_000 + 524_288).every((byte) => byte === 0));
  });

  it("refuses ranges outside the memory, and that overlap", () => {
    const stream = make("gzip");
    for (const bad of [
      { ...target, offset: -1 },
      { ...target, byteLength: 1 << 30 },
      { ...target, scratchOffset: 32 * 65_536 - DECODER_SCRATCH_BYTES + 1 },
      { ...target, scratchOffset: 100_000 },
    ]) {
      assert.throws(() => decompressInto("gzip", stream, bad, LIMIT), TypeError);
    }
  });
});

describe("what an earlier call left in the scratch area", () => {
  const memory = new WebAssembly.Memory({ initial: 32 });
  const target = { memory, offset: 0, byteLength: 100_000, scratchOffset: 200_000 };
  const small = text(900);
  for (const { format } of ONE_OF_EACH) {
    const stream = make(format, small);

    it(`does not change what a ${format} that is cut off is refused with`, () => {
      for (let length = 0; length < stream.length; length += 3) {
        const codes = [0x00, 0xff, 0x55].map((byte) => {
          new Uint8Array(memory.buffer).fill(byte);
          try {
            decompressInto(format, stream.subarray(0, length), target, LIMIT);
            return "ok";
          } catch (error) {
            return error instanceof Error && "code" in error ? error.code : error;
          }
        });
        assert.equal(new Set(codes).size, 1, `${length} bytes: ${codes.join(", ")}`);
      }
    });
  }
});

describe("without WebAssembly", () => {
  const javascript = <T>(act: () => T): T => {
    decoders.use("javascript");
    try {
      assert.equal(decoders.implementation, "javascript");
      return act();
    } finally {
      decoders.use("auto");
      assert.equal(decoders.implementation, "wasm");
    }
  };
  const variants: readonly Method[] = ["-1c", "-9c"].map((level) => ({
    format: "gzip",
    tool: "gzip",
    args: [level],
  }));

  it("gzip is decoded by the twin", () => {
    const inputs = [new Uint8Array(0), text(1), text(3_000_000), noise(70_000), new Uint8Array(500_000)];
    for (const method of variants) {
      for (const input of inputs) {
        const stream = compress(method, input);
        same(
          javascript(() => decompress("gzip", stream, LIMIT)),
          input,
        );
        const twice = Buffer.concat([stream, stream]);
        same(
          javascript(() => decompress("gzip", twice, LIMIT)),
          Buffer.concat([input, input]),
        );
        assert.equal(javascript(() => decompressMember("gzip", twice, LIMIT)).consumed, stream.length);
      }
    }
  });

  it("the twin gives the same errors as the WASM", () => {
    const input = text(2000);
    const stream = compress(variants[1] ?? variants[0] ?? assert.fail(), input);
    const outcome = (damaged: Uint8Array): string | Uint8Array => {
      try {
        return decompress("gzip", damaged, { maxDecompressedSize: 4000 });
      } catch (error) {
        assert.ok(error instanceof Error && "code" in error, String(error));
        return String(error.code);
      }
    };
    for (const pick of new Uint32Array(noise(4000).buffer)) {
      const damaged = changed(stream, pick % stream.length, (pick >>> 16) & 0xff).slice(
        0,
        stream.length - (pick % 7 === 0 ? 9 : 0),
      );
      const [a, b] = [outcome(damaged), javascript(() => outcome(damaged))];
      if (typeof a === "string" || typeof b === "string") assert.equal(typeof a, typeof b);
      else same(a, b);
    }
  });

  it("other formats are refused", () => {
    for (const { format } of ONE_OF_EACH) {
      if (format === "gzip") continue;
      const stream = make(format);
      assert.throws(
        () => javascript(() => decompress(format, stream, LIMIT)),
        refusal("DECOMPRESS_UNSUPPORTED", "WebAssembly"),
      );
    }
  });

  it("a module can be handed in, but no other", () => {
    assert.throws(
      () => decoders.use(new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))),
      TypeError,
    );
    assert.throws(() => decoders.use("fast"), TypeError);
  });
});

describe("a decoder as a task", () => {
  it("can be left in the middle", () => {
    const stream = make("zstd", noise(10 * MIB));
    const steps = tasks.decode("zstd", stream, LIMIT, false);
    assert.equal(steps.next().done, false);
    steps.return({ output: new Uint8Array(0), consumed: 0 });
    same(decompress("zstd", make("zstd"), LIMIT), INPUT);
  });
});
