/** Makes ELF32 files (System V gABI, `Elf32_Ehdr` and `Elf32_Phdr`) for tests that need one of a certain shape. */
import type { ElfShape } from "./elf-maker.js";

/** e_ident: magic, ELFCLASS32, ELFDATA2LSB, EV_CURRENT. */
export const IDENT32: readonly number[] = [0x7f, 0x45, 0x4c, 0x46, 1, 1, 1];

/** The bytes of such a file; addresses and sizes keep their low 32 bits. */
export function makeElf32(shape: ElfShape = {}): Uint8Array<ArrayBuffer> {
  const segments = shape.segments ?? [];
  const headers = 52 + segments.length * 32;
  const ends = segments.map(({ offset = 0n, filesz = 0n }) => Number(offset + filesz));
  const length = shape.byteLength ?? Math.max(headers, ...ends);
  const whole = new Uint8Array(Math.max(length, headers));
  if (shape.fill !== undefined) whole.set(shape.fill.subarray(0, length));
  whole.fill(0, 0, 52);
  whole.set(shape.ident ?? IDENT32);
  const view = new DataView(whole.buffer);
  const u32 = (at: number, value: bigint | number): void => view.setUint32(at, Number(value), true);
  view.setUint16(16, shape.type ?? 2, true);
  view.setUint16(18, shape.machine ?? 3, true);
  u32(20, shape.version ?? 1);
  u32(24, shape.entry ?? 0n);
  u32(28, shape.phoff ?? 52n);
  u32(32, shape.shoff ?? 0n);
  view.setUint16(40, 52, true);
  view.setUint16(42, shape.phentsize ?? 32, true);
  view.setUint16(44, shape.phnum ?? segments.length, true);
  view.setUint16(46, shape.shentsize ?? 40, true);
  segments.forEach((segment, index) => {
    const at = 52 + index * 32;
    u32(at, segment.type ?? 1);
    u32(at + 4, segment.offset ?? 0n);
    u32(at + 8, segment.vaddr ?? 0n);
    u32(at + 12, segment.paddr ?? 0n);
    u32(at + 16, segment.filesz ?? 0n);
    u32(at + 20, segment.memsz ?? 0n);
    u32(at + 24, segment.flags ?? 0);
    u32(at + 28, segment.align ?? 0n);
  });
  return whole.slice(0, length);
}
