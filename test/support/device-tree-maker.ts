/** Flattened device trees (Devicetree Specification, chapter 5), by code that shares nothing with what reads them. */

export interface TreeRange {
  readonly start: bigint;
  readonly end: bigint;
}

const text = (string: string): Uint8Array => new TextEncoder().encode(`${string}\0`);

/** Big-endian numbers of 32 or 64 bits. */
function numbers(bits: 32 | 64, values: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array((values.length * bits) / 8);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) {
    if (bits === 32) view.setUint32(index * 4, Number(value));
    else view.setBigUint64(index * 8, value);
  }
  return bytes;
}

const words = (...values: readonly number[]): Uint8Array => numbers(32, values.map(BigInt));

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

/** Padded to a multiple of 4 bytes. */
const padded = (bytes: Uint8Array): Uint8Array => joined([bytes, new Uint8Array(-bytes.byteLength & 3)]);

/** Starts and sizes, in two cells each. */
const pairs = (ranges: readonly TreeRange[]): Uint8Array =>
  numbers(
    64,
    ranges.flatMap(({ start, end }) => [start, end - start]),
  );

/** FDT_BEGIN_NODE and a name; FDT_PROP, its length and its name's offset; FDT_END_NODE. */
const begin = (name: string): Uint8Array => joined([words(1), padded(text(name))]);
const END = words(2);
const NAMES = ["data", "#address-cells", "#size-cells", "device_type", "reg"] as const;
function property(name: (typeof NAMES)[number], value: Uint8Array): Uint8Array {
  const before = NAMES.slice(0, NAMES.indexOf(name)).map(text);
  return joined([words(3, value.byteLength, joined(before).byteLength), padded(value)]);
}

/** The block of reservations (section 5.3) and the structure, behind a header of version 17. */
function assemble(reserved: readonly TreeRange[], structure: Uint8Array): Uint8Array {
  const reservations = pairs([...reserved, { start: 0n, end: 0n }]);
  const strings = joined(NAMES.map(text));
  const at = 40 + reservations.byteLength;
  const behind = at + structure.byteLength;
  // magic, totalsize, off_dt_struct, off_dt_strings, off_mem_rsvmap, version, last_comp_version, boot_cpuid_phys,
  // size_dt_strings, size_dt_struct
  const [total, size] = [behind + strings.byteLength, structure.byteLength];
  const header = words(0xd00dfeed, total, at, behind, 40, 17, 16, 0, strings.byteLength, size);
  return joined([header, reservations, structure, strings]);
}

/** A root with one property of `byteLength` bytes, and no /memory. */
export function makeDeviceTree(byteLength = 8, fill = 0x5a): Uint8Array {
  const data = property("data", new Uint8Array(byteLength).fill(fill));
  return assemble([], joined([begin(""), data, END, words(9)]));
}

/** The tree of a machine whose /memory has these ranges, with the same property and a block of reservations. */
export function machineTree(
  memory: readonly TreeRange[],
  { reserved = [], byteLength = 8 }: { reserved?: readonly TreeRange[]; byteLength?: number } = {},
): Uint8Array {
  return assemble(
    reserved,
    joined([
      begin(""),
      property("data", new Uint8Array(byteLength).fill(0x5a)),
      property("#address-cells", words(2)),
      property("#size-cells", words(2)),
      begin(`memory@${(memory[0]?.start ?? 0n).toString(16)}`),
      property("device_type", text("memory")),
      property("reg", pairs(memory)),
      END,
      END,
      words(9),
    ]),
  );
}

/** The tree of a machine with one range of RAM; where QEMU's virt has it by default. */
export function memoryTree(size: number | bigint, start: number | bigint = 0x4000_0000): Uint8Array {
  return machineTree([{ start: BigInt(start), end: BigInt(start) + BigInt(size) }]);
}
