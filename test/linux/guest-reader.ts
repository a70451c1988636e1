/**
 * Reads a guest's memory as the kernel would: offsets straight from asm/bootparam.h and Xen's start_info.h, none of the
 * code under test.
 */
import { readFileSync } from "node:fs";
import type { GuestMemory } from "../../src/memory/guest-memory.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { noise } from "../support/sources.js";

export type E820 = readonly [start: bigint, end: bigint, type: number];

function view(memory: GuestMemory, address: bigint, length: number): DataView {
  return new DataView(memory.read(address, length).buffer);
}

function entries(bytes: DataView, from: number, count: number, stride: number): E820[] {
  return Array.from({ length: count }, (_, index) => {
    const at = from + index * stride;
    const start = bytes.getBigUint64(at, true);
    return [start, start + bytes.getBigUint64(at + 8, true), bytes.getUint32(at + 16, true)];
  });
}

/** Neighbours of one type as one. */
export function joined(map: readonly E820[]): E820[] {
  const found: E820[] = [];
  for (const [start, end, type] of map) {
    const last = found.at(-1);
    if (last?.[1] === start && last[2] === type) found[found.length - 1] = [last[0], end, type];
    else found.push([start, end, type]);
  }
  return found;
}

export interface SetupNode {
  readonly address: bigint;
  readonly type: number;
  readonly data: Uint8Array;
}

/** The fields of struct boot_params, and the setup_data list behind it. */
export interface BootParams {
  readonly page: DataView;
  readonly nodes: readonly SetupNode[];
  /** The table and the SETUP_E820_EXT nodes, neighbours joined. */
  readonly e820: readonly E820[];
  readonly tableEntries: number;
  readonly initrd: { readonly address: bigint; readonly size: bigint };
  readonly commandLineAddress: bigint;
  readonly commandLine: string;
  readonly rsdp: bigint;
}

function cString(memory: GuestMemory, address: bigint): string {
  let text = "";
  for (let at = address; ; at++) {
    const [byte = 0] = memory.read(at, 1);
    if (byte === 0) return text;
    text += String.fromCharCode(byte);
  }
}

export function readBootParams(memory: GuestMemory, address: bigint): BootParams {
  const page = view(memory, address, 4096);
  const wide = (low: number, high: number): bigint =>
    BigInt(page.getUint32(low, true)) | (BigInt(page.getUint32(high, true)) << 32n);
  const nodes: SetupNode[] = [];
  for (let at = page.getBigUint64(0x250, true); at !== 0n; ) {
    const header = view(memory, at, 16);
    const data = memory.read(at + 16n, header.getUint32(12, true));
    nodes.push({ address: at, type: header.getUint32(8, true), data });
    at = header.getBigUint64(0, true);
  }
  const tableEntries = page.getUint8(0x1e8);
  const more = nodes
    .filter(({ type }) => type === 1)
    .flatMap(({ data }) => entries(new DataView(data.buffer, data.byteOffset), 0, data.byteLength / 20, 20));
  const commandLineAddress = wide(0x228, 0xc8);
  return {
    page,
    nodes,
    tableEntries,
    e820: joined([...entries(page, 0x2d0, tableEntries, 20), ...more]),
    initrd: { address: wide(0x218, 0xc0), size: wide(0x21c, 0xc4) },
    commandLineAddress,
    commandLine: commandLineAddress === 0n ? "" : cString(memory, commandLineAddress),
    rsdp: page.getBigUint64(0x70, true),
  };
}

/** struct hvm_start_info, its modules and its memory map. */
export function readStartInfo(
  memory: GuestMemory,
  address: bigint,
): {
  readonly magic: number;
  readonly version: number;
  readonly modules: readonly { readonly address: bigint; readonly size: bigint }[];
  readonly commandLine: string | undefined;
  readonly rsdp: bigint;
  readonly e820: readonly E820[];
} {
  const info = view(memory, address, 56);
  const count = info.getUint32(12, true);
  const list = view(memory, info.getBigUint64(16, true), count * 32);
  const commandLine = info.getBigUint64(24, true);
  const mapCount = info.getUint32(48, true);
  return {
    magic: info.getUint32(0, true),
    version: info.getUint32(4, true),
    modules: Array.from({ length: count }, (_, index) => ({
      address: list.getBigUint64(index * 32, true),
      size: list.getBigUint64(index * 32 + 8, true),
    })),
    commandLine: commandLine === 0n ? undefined : cString(memory, commandLine),
    rsdp: info.getBigUint64(32, true),
    e820: entries(view(memory, info.getBigUint64(40, true), mapCount * 24), 0, mapCount, 24),
  };
}

/** The embedded guests: an ELF64 kernel and an arm64 Image. */
export const ELF_KERNEL = new Uint8Array(readFileSync(X86_64_GUEST));
export const ARM64_KERNEL = new Uint8Array(readFileSync(AARCH64_GUEST));

/** An ELF with a PVH note for `entry`: one PT_LOAD of a page at 16 MiB, one PT_NOTE. */
export function pvhNote(entry: number): Uint8Array {
  const note = new Uint8Array(20);
  const header = new DataView(note.buffer);
  header.setUint32(0, 4, true);
  header.setUint32(4, 4, true);
  header.setUint32(8, 18, true);
  note.set(new TextEncoder().encode("Xen"), 12);
  header.setUint32(16, entry, true);
  return note;
}

/** An arm64 Image: any placement and 4 KiB pages, unless told otherwise. */
export function makeArm64Image(
  shape: { imageSize?: bigint; textOffset?: bigint; flags?: bigint; byteLength?: number } = {},
): Uint8Array<ArrayBuffer> {
  const bytes = noise(shape.byteLength ?? 0x3000, 8);
  const header = new DataView(bytes.buffer);
  header.setBigUint64(8, shape.textOffset ?? 0n, true);
  header.setBigUint64(16, shape.imageSize ?? 0x5000n, true);
  header.setBigUint64(24, shape.flags ?? 0b1010n, true);
  header.setUint32(56, 0x644d_5241, true);
  return bytes;
}
