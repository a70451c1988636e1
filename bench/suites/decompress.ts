import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { gunzipSync as fflateGunzip } from "fflate";
import { decompress as fzstdDecompress } from "fzstd";
import { ungzip } from "pako";
import { ZSTDDecoder } from "zstddec";
import {
  type CompressionFormat,
  DECODER_SCRATCH_BYTES,
  decompress,
  decompressInto,
} from "../../src/decoders/index.js";
import { readBzImage } from "../../src/images/bzimage.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runSync } from "../../src/task/run.js";
import { debianKernel } from "../../test/boot/support/debian.js";
import { extractVmlinux } from "../../test/boot/support/extract-vmlinux.js";
import { type Case, type Contender, measureCases, type Suite } from "../harness.js";

const OURS = "directboot";
const ROUNDS = 7;
/** More than any of the outputs has. */
const MOST_BYTES = 1 << 28;
const SIZE_TRAILER_BYTES = 4;

/** A compressed stream, what is in it, and the tool that undoes it. */
interface Payload {
  readonly label: string;
  readonly format: CompressionFormat;
  readonly packed: Uint8Array;
  readonly byteLength: number;
  /** Arguments of the native tool; the file's name is added. */
  readonly native: readonly [program: string, ...args: string[]];
  readonly peers: Readonly<Record<string, () => unknown>>;
}

/** The payload of a bzImage without its size trailer. */
function payloadOf(vmlinuz: string): Uint8Array {
  const file = readFileSync(vmlinuz);
  const { payload } = runSync(readBzImage(new BytesSource(file, vmlinuz)));
  if (payload === undefined) throw new Error(`${vmlinuz} has no payload`);
  return file.subarray(payload.offset, payload.offset + payload.length - SIZE_TRAILER_BYTES);
}

const require = createRequire(import.meta.url);

/** A function of a package that has no types, or none that compile. */
function functionOf(packageName: string, member: string): (...args: unknown[]) => unknown {
  const found: unknown = Reflect.get(require(packageName) as object, member);
  if (typeof found !== "function") throw new Error(`${packageName} has no ${member}`);
  return (...args) => found(...args);
}

/** Legacy LZ4 by lz4js: its block decoder over each block. */
function lz4jsLegacy(packed: Uint8Array, output: Uint8Array): Uint8Array {
  const decompressBlock = functionOf("lz4js", "decompressBlock");
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  let to = 0;
  for (let at = 4; at + 4 <= packed.byteLength; ) {
    const length = view.getUint32(at, true);
    at += 4;
    to = Number(decompressBlock(packed, output, at, length, to));
    at += length;
  }
  return output;
}

async function ofStream(stream: ReadableStream<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of stream) bytes += chunk.byteLength;
  return bytes;
}

async function payloads(folder: string, isQuick: boolean): Promise<Payload[]> {
  const [amd64, i386] = await Promise.all([debianKernel("amd64"), debianKernel("i386")]);
  const elf = readFileSync(await extractVmlinux(i386.vmlinuz));
  const plain = join(folder, "vmlinux");
  writeFileSync(plain, isQuick ? elf.subarray(0, 1 << 20) : elf);
  const source = readFileSync(plain);
  const made = (suffix: string, program: string, ...args: string[]): Uint8Array => {
    const packed = execFileSync(program, [...args, plain], { maxBuffer: MOST_BYTES });
    writeFileSync(join(folder, `packed.${suffix}`), packed);
    return packed;
  };
  const lz4 = payloadOf(amd64.vmlinuz);
  const xz = payloadOf(i386.vmlinuz);
  const lz4Bytes = decompress("lz4-legacy", lz4, { maxDecompressedSize: MOST_BYTES }).byteLength;
  const xzBytes = decompress("xz", xz, { maxDecompressedSize: MOST_BYTES }).byteLength;
  writeFileSync(join(folder, "packed.debian.lz4"), lz4);
  writeFileSync(join(folder, "packed.debian.xz"), xz);
  const { byteLength } = source;
  const zstd = made("zst", "zstd", "-22", "--ultra", "--long=27", "-c", "-q");
  const gzip = made("gz", "gzip", "-9", "-n", "-c");
  const lzma = made("lzma", "xz", "--format=lzma", "-9", "-c");
  const plainXz = made("xz", "xz", "--check=crc32", "--lzma2=dict=32MiB", "-c");
  const bzip2 = made("bz2", "bzip2", "-9", "-c");
  const lzo = made("lzo", "lzop", "-9", "-c");
  const lzma1 = functionOf("lzma1", "decompress");
  const { XzReadableStream } = require("xz-decompress") as {
    XzReadableStream: new (packed: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array>;
  };
  const xzStream = (packed: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> =>
    new XzReadableStream(packed);
  const decoder = new ZSTDDecoder();
  await decoder.init();
  return [
    {
      label: "LZ4 legacy, Debian amd64",
      format: "lz4-legacy",
      packed: lz4,
      byteLength: lz4Bytes,
      native: ["lz4", "-dc", "packed.debian.lz4"],
      peers: { lz4js: () => lz4jsLegacy(lz4, new Uint8Array(lz4Bytes)) },
    },
    {
      label: "xz + x86 BCJ, Debian i386",
      format: "xz",
      packed: xz,
      byteLength: xzBytes,
      native: ["xz", "-dc", "-T1", "packed.debian.xz"],
      peers: {},
    },
    {
      label: "xz, no filter",
      format: "xz",
      packed: plainXz,
      byteLength,
      native: ["xz", "-dc", "-T1", "packed.xz"],
      peers: { "xz-decompress": () => ofStream(xzStream(streamOf(plainXz))) },
    },
    {
      label: "LZMA alone",
      format: "lzma",
      packed: lzma,
      byteLength,
      native: ["xz", "--format=lzma", "-dc", "packed.lzma"],
      peers: { lzma1: () => lzma1(lzma) },
    },
    {
      label: "gzip -9",
      format: "gzip",
      packed: gzip,
      byteLength,
      native: ["gzip", "-dc", "packed.gz"],
      peers: {
        fflate: () => fflateGunzip(gzip),
        pako: () => ungzip(gzip),
        "node:zlib": () => gunzipSync(gzip),
        DecompressionStream: () =>
          ofStream(streamOf(gzip).pipeThrough(new DecompressionStream("gzip") as TransformPair)),
      },
    },
    {
      label: "zstd -22 --ultra",
      format: "zstd",
      packed: zstd,
      byteLength,
      native: ["zstd", "-dc", "-q", "--long=27", "packed.zst"],
      peers: {
        fzstd: () => fzstdDecompress(zstd),
        zstddec: () => decoder.decode(zstd, byteLength),
      },
    },
    {
      label: "bzip2 -9",
      format: "bzip2",
      packed: bzip2,
      byteLength,
      native: ["bzip2", "-dc", "packed.bz2"],
      peers: {},
    },
    {
      label: "lzop -9",
      format: "lzo",
      packed: lzo,
      byteLength,
      native: ["lzop", "-dc", "packed.lzo"],
      peers: {},
    },
  ];
}

const WASM_PAGE_BYTES = 65536;

/** The memory that the decoders get holds something: pages that were touched before, as in a guest memory that is used again. */
const WARM = [
  { name: "reset memory", value: 0 },
  { name: "used memory", value: 0xa5 },
] as const;

/** LZ4 into such memory: the decoders alone. */
function warmCase({ label, packed, byteLength }: Payload, { name, value }: (typeof WARM)[number]): Case {
  const pages = Math.ceil(byteLength / WASM_PAGE_BYTES);
  const scratchOffset = pages * WASM_PAGE_BYTES;
  const memory = new WebAssembly.Memory({
    initial: pages + Math.ceil(DECODER_SCRATCH_BYTES / WASM_PAGE_BYTES),
  });
  const target = { memory, offset: 0, byteLength: scratchOffset, scratchOffset };
  const output = new Uint8Array(byteLength);
  const run = (): number =>
    decompressInto("lz4-legacy", packed, target, { maxDecompressedSize: scratchOffset });
  if (run() !== byteLength) throw new Error(`${label}: the output has another length`);
  return {
    size: `${label}, into ${name}`,
    byteLength,
    contenders: {
      [OURS]: { run, before: () => void new Uint8Array(memory.buffer, 0, byteLength).fill(value) },
      lz4js: { run: () => lz4jsLegacy(packed, output), before: () => void output.fill(value) },
    },
  };
}

type TransformPair = ReadableWritablePair<Uint8Array, Uint8Array>;

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}

export function decompressSuite(): Suite {
  const notes: string[] = [];
  return {
    name: "decompress",
    about: "bytes are those of the output; the native tools' time is that of the whole process",
    ours: [OURS],
    notes,
    async measure({ quick }) {
      notes.length = 0;
      notes.push("xz-decompress on Debian's i386 payload: it refuses the x86 filter");
      const folder = mkdtempSync(join(tmpdir(), "directboot-bench-"));
      try {
        const all = await payloads(folder, quick);
        const cases = all.map(({ label, format, packed, byteLength, native, peers }): Case => {
          const run = (): Uint8Array => decompress(format, packed, { maxDecompressedSize: MOST_BYTES });
          if (run().byteLength !== byteLength) throw new Error(`${label}: the output has another length`);
          const [program, ...args] = native;
          const contenders: Record<string, Contender> = { [OURS]: run };
          for (const [name, peer] of Object.entries(peers)) {
            contenders[name] = { runAsync: async () => await peer() };
          }
          contenders[`${program} (native tool)`] = () =>
            execFileSync(program, args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
          return { size: label, byteLength, contenders };
        });
        const rounds = quick ? 2 : ROUNDS;
        const warm = all
          .filter(({ format }) => format === "lz4-legacy")
          .flatMap((each) => WARM.map((memory) => warmCase(each, memory)));
        return await measureCases([...warm, ...cases], { rounds, milliseconds: 0, collects: true });
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}
