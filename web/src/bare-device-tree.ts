/**
 * A flattened device tree (Devicetree Specification, chapter 5) that says where RAM is, and nothing else: an arm64 kernel
 * can be planned with it where the machine's own tree is not at hand. No kernel boots with it.
 */

const MAGIC = 0xd00d_feed;
const VERSION = 17;
const LAST_COMPATIBLE_VERSION = 16;
const HEADER_BYTES = 40;
/** One empty entry ends the memory reservation block. */
const RESERVATION_BYTES = 16;
const BEGIN_NODE = 1;
const END_NODE = 2;
const PROPERTY = 3;
const END = 9;
/** Where QEMU's virt machine has its RAM. */
const RAM_START = 0x4000_0000;

/** Names of properties, which the structure block refers to by their offset. */
const STRINGS = "#address-cells\0#size-cells\0device_type\0reg\0";

/** A text, NUL-terminated and padded to whole words. */
function text(value: string): number[] {
  const bytes = new Uint8Array(Math.ceil((value.length + 1) / 4) * 4);
  new TextEncoder().encodeInto(value, bytes);
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.byteLength / 4 }, (_, index) => view.getUint32(index * 4));
}

function property(name: string, byteLength: number, ...value: readonly number[]): number[] {
  return [PROPERTY, byteLength, STRINGS.indexOf(`${name}\0`), ...value];
}

/** The tree of a machine with `memoryBytes` of RAM from 1 GiB on, as QEMU's virt machine has it. */
export function bareDeviceTree(memoryBytes: number): Uint8Array<ArrayBuffer> {
  const size = [Math.floor(memoryBytes / 2 ** 32), memoryBytes % 2 ** 32];
  const structure = [
    ...[BEGIN_NODE, ...text("")],
    ...property("#address-cells", 4, 2),
    ...property("#size-cells", 4, 2),
    ...[BEGIN_NODE, ...text("chosen"), END_NODE],
    ...[BEGIN_NODE, ...text(`memory@${RAM_START.toString(16)}`)],
    ...property("device_type", 7, ...text("memory")),
    ...property("reg", 16, 0, RAM_START, ...size),
    ...[END_NODE, END_NODE, END],
  ];
  const structureOffset = HEADER_BYTES + RESERVATION_BYTES;
  const stringsOffset = structureOffset + structure.length * 4;
  const total = stringsOffset + STRINGS.length;
  const tree = new Uint8Array(total);
  const view = new DataView(tree.buffer);
  // magic, totalsize, off_dt_struct, off_dt_strings, off_mem_rsvmap, version, last_comp_version, boot_cpuid_phys,
  // size_dt_strings, size_dt_struct (Devicetree Specification, 5.2)
  const header = [
    ...[MAGIC, total, structureOffset, stringsOffset, HEADER_BYTES],
    ...[VERSION, LAST_COMPATIBLE_VERSION, 0, STRINGS.length, structure.length * 4],
  ];
  for (const [index, word] of header.entries()) view.setUint32(index * 4, word);
  for (const [index, word] of structure.entries()) view.setUint32(structureOffset + index * 4, word);
  new TextEncoder().encodeInto(STRINGS, tree.subarray(stringsOffset));
  return tree;
}
