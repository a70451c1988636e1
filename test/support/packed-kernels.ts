/** Kernels in the wrappers that distributions ship them in, around streams of the real tools. */
import { compress, type Method } from "../decoders/tools.js";
import { makeBzImage } from "./bzimage-maker.js";
import { makeElf } from "./elf-maker.js";
import { makeElf32 } from "./elf32-maker.js";
import { noise } from "./sources.js";
import { makeZboot } from "./zboot-maker.js";

const MIB = 1 << 20;

/** Bytes that compress well, no two KiB of which are alike. */
export function compressible(byteLength: number, seed = 5): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  const block = noise(50_000, seed);
  for (let at = 0; at < byteLength; at += block.length) bytes.set(block.subarray(0, byteLength - at), at);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 4 <= byteLength; at += 1000) view.setUint32(at, at, true);
  return bytes;
}

/** A 64-bit vmlinux for x86 of about `byteLength` bytes: two segments from 16 MiB on, the second with a bss. */
export function makeVmlinux(byteLength = 3 * MIB): Uint8Array<ArrayBuffer> {
  const half = BigInt(Math.floor(byteLength / 8192) * 4096);
  const fill = compressible(Number(2n * half) + 4096);
  const at = 0x100_0000n;
  return makeElf({
    entry: at + 0x123n,
    fill,
    segments: [
      { offset: 4096n, vaddr: at, paddr: at, filesz: half, memsz: half },
      { offset: 4096n + half, vaddr: at + half, paddr: at + half, filesz: half - 77n, memsz: half + 9999n },
    ],
  });
}

/** The same for 32 bits. */
export function makeVmlinux32(): Uint8Array<ArrayBuffer> {
  return makeElf32({
    entry: 0x100_0123n,
    fill: compressible(MIB),
    segments: [
      { offset: 4096n, vaddr: 0xc100_0000n, paddr: 0x100_0000n, filesz: 900_000n, memsz: 1_000_000n },
    ],
  });
}

/** An arm64 Image (booting.rst) of `byteLength` bytes in the file, and more of bss behind it. */
export function makeImage(byteLength = 5 * MIB, imageSize = byteLength + 300_000): Uint8Array<ArrayBuffer> {
  const bytes = compressible(byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xfa40_5a4d, true);
  view.setUint32(4, 0x1400_0000, true);
  view.setBigUint64(8, 0n, true);
  view.setBigUint64(16, BigInt(imageSize), true);
  // 4 KiB pages, anywhere in memory.
  view.setBigUint64(24, 0xan, true);
  bytes.fill(0, 32, 600);
  view.setUint32(56, 0x644d_5241, true);
  return bytes;
}

/** A stream as a kernel's build leaves it: its size behind it, but for gzip, which has it within (size_append). */
export function withTrailer(method: Method, stream: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  if (method.format === "gzip") return Uint8Array.from(stream);
  const bytes = new Uint8Array(stream.length + 4);
  bytes.set(stream);
  new DataView(bytes.buffer).setUint32(stream.length, size, true);
  return bytes;
}

/** How a bzImage differs from the usual one. */
export interface PackedShape {
  /** As in the file, trailer and all. */
  readonly payload: Uint8Array;
  readonly xloadflags?: number;
  readonly fields?: readonly (readonly [offset: number, size: 1 | 2 | 4 | 8, value: bigint | number])[];
}

/** A bzImage around a payload, code before and behind it. */
export function bzImageAround({
  payload,
  xloadflags = 3,
  fields = [],
}: PackedShape): Uint8Array<ArrayBuffer> {
  const before = 0x2c0;
  const code = new Uint8Array(Math.ceil((before + payload.length + 1000) / 16) * 16).fill(0xcc);
  code.set(payload, before);
  return makeBzImage({
    code,
    payloadOffset: before,
    payloadLength: payload.length,
    fields: [[0x236, 2, xloadflags], ...fields],
  });
}

/** A bzImage as the kernel's build makes it: behind the ELF in the payload lies the relocation table. */
export function packBzImage(
  method: Method,
  vmlinux: Uint8Array,
  shape: Omit<PackedShape, "payload"> = {},
): Uint8Array<ArrayBuffer> {
  const whole = Buffer.concat([vmlinux, noise(4000, 9)]);
  return bzImageAround({ ...shape, payload: withTrailer(method, compress(method, whole), whole.length) });
}

/** An EFI zboot image; its header does not count the trailer. */
export function packZboot(method: Method, image: Uint8Array): Uint8Array<ArrayBuffer> {
  const stream = compress(method, image);
  return makeZboot({
    compression: method.format,
    payload: withTrailer(method, stream, image.length),
    payloadLength: stream.length,
  });
}
