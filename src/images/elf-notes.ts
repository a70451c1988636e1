/**
 * Notes of an ELF file: where the kernel says its PVH entry point. Layout of a note: System V gABI, "Note Section"
 * (`Elf64_Nhdr` in <elf.h>, the same in both classes); the note itself: Xen's public/elfnote.h and its
 * "x86/HVM direct boot ABI" (docs/misc/pvh.pandoc).
 */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { type ElfImage, type ElfProgramHeader, PT_NOTE } from "./elf.js";

/** XEN_ELFNOTE_PHYS32_ENTRY: physical address of a 32-bit entry point. */
export const XEN_ELFNOTE_PHYS32_ENTRY = 18;
/** "Xen" */
const XEN_NAME: readonly number[] = [0x58, 0x65, 0x6e];
const NOTE_HEADER_BYTES = 12; // sizeof(Elf64_Nhdr): n_namesz, n_descsz, n_type
/** All notes of a kernel together are some hundred bytes; what is far larger is a hostile size. */
const MOST_NOTE_BYTES = 1024 * 1024;

/** The PVH note. */
export interface PvhNote {
  /** The 32-bit entry point, a guest physical address. */
  readonly entry: bigint;
  /** Where that value lies in the file, and its bytes: 4 or 8. */
  readonly offset: number;
  readonly size: 4 | 8;
}

function badNote(source: Source, why: string): DirectBootError {
  return new DirectBootError("ELF_BAD_NOTE", `${source.name}: ${why}`);
}

/** `value` up to the next multiple of `alignment`, a power of two. */
function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

function isXen(name: Uint8Array): boolean {
  const nul = name.indexOf(0);
  const text = nul < 0 ? name : name.subarray(0, nul);
  return text.byteLength === XEN_NAME.length && XEN_NAME.every((byte, index) => text[index] === byte);
}

/** True for a name as notes have it: printable ASCII, ended by a NUL. */
function isNoteName(name: Uint8Array): boolean {
  const last = name.byteLength - 1;
  return last > 0 && name.every((byte, at) => (at === last ? byte === 0 : byte >= 0x20 && byte < 0x7f));
}

/** The PVH entry of the note whose value is `size` bytes at `value`. */
function pvhNoteAt(view: DataView, value: number, size: 4 | 8, header: ElfProgramHeader): PvhNote {
  return {
    entry: size === 8 ? view.getBigUint64(value, true) : BigInt(view.getUint32(value, true)),
    offset: Number(header.offset) + value,
    size,
  };
}

/**
 * The PVH note among the notes of a segment, from note to note. Linux pads every note to 4 bytes whatever p_align says
 * (include/linux/elfnote.h), compilers pad theirs to 8, and linkers put both into one segment: where a walk meets what
 * is no note, the PVH note is looked for at every fourth byte.
 */
function findInSegment(source: Source, notes: Uint8Array, header: ElfProgramHeader): PvhNote | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  // glibc and binutils: names and values are padded to 8 in a segment aligned so, otherwise to 4.
  const alignment = header.alignment === 8n ? 8 : 4;
  let isSound = true;
  let at = 0;
  // A rest that is too short for a note is padding.
  while (at + NOTE_HEADER_BYTES <= notes.byteLength) {
    const nameBytes = view.getUint32(at, true);
    const valueBytes = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    const value = at + alignUp(NOTE_HEADER_BYTES + nameBytes, alignment);
    const end = value + valueBytes;
    if (end > notes.byteLength) {
      const found = scanSegment(view, notes, header);
      if (found !== undefined) return found;
      throw badNote(
        source,
        `the note at ${hex(header.offset + BigInt(at))} has ${nameBytes} bytes of name and ${valueBytes} of value, its segment ends at ${hex(header.offset + header.fileSize)}`,
      );
    }
    const name = notes.subarray(at + NOTE_HEADER_BYTES, at + NOTE_HEADER_BYTES + nameBytes);
    if (type === XEN_ELFNOTE_PHYS32_ENTRY && isXen(name)) {
      if (valueBytes !== 4 && valueBytes !== 8) {
        throw badNote(source, `the PVH entry has ${valueBytes} bytes, 4 or 8 are wanted`);
      }
      return pvhNoteAt(view, value, valueBytes, header);
    }
    isSound &&= isNoteName(name);
    at = alignUp(end, alignment);
  }
  return isSound ? undefined : scanSegment(view, notes, header);
}

/** The first whole PVH note at a multiple of 4 bytes. */
function scanSegment(view: DataView, notes: Uint8Array, header: ElfProgramHeader): PvhNote | undefined {
  const value = NOTE_HEADER_BYTES + XEN_NAME.length + 1;
  for (let at = 0; at + value + 4 <= notes.byteLength; at += 4) {
    if (view.getUint32(at + 8, true) !== XEN_ELFNOTE_PHYS32_ENTRY) continue;
    const size = view.getUint32(at + 4, true);
    if (view.getUint32(at, true) !== XEN_NAME.length + 1 || (size !== 4 && size !== 8)) continue;
    if (!isXen(notes.subarray(at + NOTE_HEADER_BYTES, at + value))) continue;
    if (at + value + size <= notes.byteLength) return pvhNoteAt(view, at + value, size, header);
  }
  return undefined;
}

/**
 * Looks for the PVH entry point in the PT_NOTE segments, in the file's order; the first is taken. At most 1 MiB of
 * notes is read. Notes that can't be walked are an error, not "no entry": whoever asks wants to start the kernel by it.
 *
 * @returns undefined if there is none
 * @throws DirectBootError ELF_BAD_NOTE if a segment passes the end of the file, a note the end of its segment, if the
 *   value has neither 4 nor 8 bytes, or if there are more than 1 MiB of notes before it
 */
export function* findPvhNote(source: Source, elf: ElfImage): Task<PvhNote | undefined> {
  let total = 0n;
  for (const header of elf.programHeaders) {
    if (header.type !== PT_NOTE || header.fileSize === 0n) continue;
    if (header.offset + header.fileSize > BigInt(source.byteLength)) {
      throw badNote(
        source,
        `notes of ${hex(header.fileSize)} bytes at ${hex(header.offset)} pass the end, ${source.byteLength} bytes`,
      );
    }
    total += header.fileSize;
    if (total > BigInt(MOST_NOTE_BYTES)) {
      throw badNote(source, `there are ${hex(total)} bytes of notes, the limit is ${hex(MOST_NOTE_BYTES)}`);
    }
    const notes = yield* readBytes(source, Number(header.offset), Number(header.fileSize));
    const found = findInSegment(source, notes, header);
    if (found !== undefined) return found;
  }
  return undefined;
}
