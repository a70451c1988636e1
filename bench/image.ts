/** Kernels to load: ELF files of one segment, in a temporary folder. */
import { closeSync, fsyncSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
/** Where the segment begins in the file. */
export const SEGMENT_OFFSET = 4096;
/** Where it goes in the guest. */
export const KERNEL_ADDRESS = 16 * MIB;

/** Deterministic bytes that no compressor or page merger would see through. */
export function noise(byteLength: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(byteLength / 4));
  let state = 0x9e37_79b9;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, byteLength);
}

/** Head of an x86-64 ELF file with one PT_LOAD of `byteLength` bytes. */
export function elfHead(byteLength: number): Uint8Array<ArrayBuffer> {
  const elf = new Uint8Array(SEGMENT_OFFSET);
  const view = new DataView(elf.buffer);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(24, BigInt(KERNEL_ADDRESS), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  const fields = [
    [72, SEGMENT_OFFSET],
    [80, KERNEL_ADDRESS],
    [88, KERNEL_ADDRESS],
    [96, byteLength],
    [104, byteLength],
  ] as const;
  for (const [offset, value] of fields) view.setBigUint64(offset, BigInt(value), true);
  return elf;
}

/** A temporary folder with an ELF file that can be made larger. */
export class Image {
  readonly folder = mkdtempSync(join(tmpdir(), "directboot-bench-"));
  readonly path = join(this.folder, "vmlinux");
  #byteLength = 0;

  /** Makes the segment `byteLength` bytes, all of them written and on disk: later reads find them in the page cache. */
  grow(byteLength: number): void {
    const file = openSync(this.path, this.#byteLength === 0 ? "w" : "r+");
    writeSync(file, elfHead(byteLength), 0, SEGMENT_OFFSET, 0);
    const piece = noise(Math.min(16 * MIB, byteLength));
    for (let done = this.#byteLength; done < byteLength; ) {
      const length = Math.min(piece.byteLength, byteLength - done);
      done += writeSync(file, piece, 0, length, SEGMENT_OFFSET + done);
    }
    fsyncSync(file);
    closeSync(file);
    this.#byteLength = byteLength;
  }

  /** Makes the segment `byteLength` bytes of which only one page in `stride` bytes is written. */
  growSparse(byteLength: number, stride: number): void {
    const file = openSync(this.path, "w");
    writeSync(file, elfHead(byteLength), 0, SEGMENT_OFFSET, 0);
    const page = noise(4096);
    ftruncateSync(file, SEGMENT_OFFSET + byteLength);
    for (let at = 0; at < byteLength; at += stride) {
      writeSync(file, page, 0, page.byteLength, SEGMENT_OFFSET + at);
    }
    closeSync(file);
    this.#byteLength = byteLength;
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
