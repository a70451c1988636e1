/** Makes ELF64 files (System V gABI, "ELF Header", "Program Header") for tests that need one of a certain shape. */

/** A program header; what is left out is 0, and type 1 (PT_LOAD). */
export interface SegmentShape {
  readonly type?: number;
  readonly flags?: number;
  readonly offset?: bigint;
  readonly vaddr?: bigint;
  readonly paddr?: bigint;
  readonly filesz?: bigint;
  readonly memsz?: bigint;
  readonly align?: bigint;
}

/** An ELF file's header, its segments and its length. */
export interface ElfShape {
  readonly type?: number;
  readonly machine?: number;
  readonly version?: number;
  readonly entry?: bigint;
  readonly phoff?: bigint;
  readonly phentsize?: number;
  readonly phnum?: number;
  readonly shoff?: bigint;
  readonly shentsize?: number;
  readonly ident?: readonly number[];
  readonly segments?: readonly SegmentShape[];
  /** Bytes of the file; by default what headers and segments need. */
  readonly byteLength?: number;
  /** Fills what is neither header nor program header. */
  readonly fill?: Uint8Array;
}

/** e_ident: magic, ELFCLASS64, ELFDATA2LSB, EV_CURRENT. */
export const IDENT: readonly number[] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1];

/** The bytes of such a file. */
export function makeElf(shape: ElfShape = {}): Uint8Array<ArrayBuffer> {
  const segments = shape.segments ?? [];
  const phoff = shape.phoff ?? 64n;
  const headers = 64 + segments.length * 56;
  const ends = segments.map(({ offset = 0n, filesz = 0n }) => Number(offset + filesz));
  const bytes = new Uint8Array(shape.byteLength ?? Math.max(headers, ...ends));
  if (shape.fill !== undefined) bytes.set(shape.fill.subarray(0, bytes.byteLength));
  const whole = new Uint8Array(Math.max(bytes.byteLength, headers));
  whole.set(bytes);
  const view = new DataView(whole.buffer);
  whole.fill(0, 0, 64);
  whole.set(shape.ident ?? IDENT);
  view.setUint16(16, shape.type ?? 2, true);
  view.setUint16(18, shape.machine ?? 62, true);
  view.setUint32(20, shape.version ?? 1, true);
  view.setBigUint64(24, shape.entry ?? 0n, true);
  view.setBigUint64(32, phoff, true);
  view.setBigUint64(40, shape.shoff ?? 0n, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, shape.phentsize ?? 56, true);
  view.setUint16(56, shape.phnum ?? segments.length, true);
  view.setUint16(58, shape.shentsize ?? 64, true);
  segments.forEach((segment, index) => {
    const at = 64 + index * 56;
    view.setUint32(at, segment.type ?? 1, true);
    view.setUint32(at + 4, segment.flags ?? 0, true);
    view.setBigUint64(at + 8, segment.offset ?? 0n, true);
    view.setBigUint64(at + 16, segment.vaddr ?? 0n, true);
    view.setBigUint64(at + 24, segment.paddr ?? 0n, true);
    view.setBigUint64(at + 32, segment.filesz ?? 0n, true);
    view.setBigUint64(at + 40, segment.memsz ?? 0n, true);
    view.setBigUint64(at + 48, segment.align ?? 0n, true);
  });
  return whole.slice(0, bytes.byteLength);
}
