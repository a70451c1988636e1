/**
 * ACPI Machine Language, in small parts that read like ASL: each function gives the bytes of one term, which are parts of
 * others. Encodings: ACPI 6.5, chapter 20, "ACPI Machine Language (AML) Specification".
 *
 *     device("COM1", name("_HID", eisaId("PNP0501")), name("_UID", integer(1)))
 */

/** Bytes of a term. */
export type Aml = readonly number[];

/** The bytes of several terms. */
export function concat(...terms: readonly Aml[]): Aml {
  return ([] as number[]).concat(...terms);
}

function littleEndian(value: bigint | number, byteLength: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (let index = 0; index < byteLength; index++) {
    bytes.push(Number(rest & 0xffn));
    rest >>= 8n;
  }
  return bytes;
}

/** 16, 32 and 64 bits, little-endian. */
export const word = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff];
export const dword = (value: number): number[] => [
  value & 0xff,
  (value >>> 8) & 0xff,
  (value >>> 16) & 0xff,
  value >>> 24,
];
export const qword = (value: bigint): number[] => littleEndian(value, 8);

/** The shortest form of an integer (20.2.3, ComputationalData). */
export function integer(value: number | bigint): Aml {
  if (value === 0 || value === 0n) return [0x00];
  if (value === 1 || value === 1n) return [0x01];
  if (value <= 0xff) return [0x0a, Number(value)];
  if (value <= 0xffff) return [0x0b, ...word(Number(value))];
  if (value <= 0xffff_ffff) return [0x0c, ...dword(Number(value))];
  return [0x0e, ...littleEndian(value, 8)];
}

/** A string of ASCII characters. */
export function string(text: string): Aml {
  return [0x0d, ...[...text].map((letter) => letter.charCodeAt(0)), 0x00];
}

/** The length of what follows, and of itself (20.2.4, PkgLength). */
function packageLength(contents: number): number[] {
  if (contents + 1 < 0x40) return [contents + 1];
  for (const extra of [1, 2, 3]) {
    const length = contents + 1 + extra;
    if (length < 1 << (4 + 8 * extra))
      return [(extra << 6) | (length & 0xf), ...littleEndian(length >> 4, extra)];
  }
  throw new RangeError(`a term of ${contents} bytes, AML's limit is 2^28`);
}

/** `opcode`, the length, and what belongs to the term. */
function sized(opcode: Aml, ...contents: readonly Aml[]): Aml {
  const body = concat(...contents);
  return concat(opcode, packageLength(body.length), body);
}

/** A name as ASL has it: "_SB", "\\_S5", "\\_SB.PCI0"; segments of fewer than four characters are filled with "_" (20.2.2). */
export function path(text: string): Aml {
  const isAbsolute = text.startsWith("\\");
  const rest = isAbsolute ? text.slice(1) : text;
  const segments = rest === "" ? [] : rest.split(".");
  const prefix =
    segments.length === 2
      ? [0x2e]
      : segments.length > 2
        ? [0x2f, segments.length]
        : segments.length === 0
          ? [0x00]
          : [];
  const letters = segments.flatMap((segment) =>
    [...segment.padEnd(4, "_")].map((letter) => letter.charCodeAt(0)),
  );
  return [...(isAbsolute ? [0x5c] : []), ...prefix, ...letters];
}

/** `Name (NAME, value)` */
export const name = (text: string, value: Aml): Aml => concat([0x08], path(text), value);
/** `Scope (NAME) { … }` */
export const scope = (text: string, ...terms: readonly Aml[]): Aml => sized([0x10], path(text), ...terms);
/** `Device (NAME) { … }` */
export const device = (text: string, ...terms: readonly Aml[]): Aml =>
  sized([0x5b, 0x82], path(text), ...terms);
/** `Method (NAME, argumentCount, Serialized) { … }` */
export const method = (text: string, argumentCount: number, ...terms: readonly Aml[]): Aml =>
  sized([0x14], path(text), [argumentCount | 0x08], ...terms);
/** `Package (n) { … }` of at most 255 elements. */
export const pack = (...elements: readonly Aml[]): Aml => sized([0x12], [elements.length], ...elements);
/** `Buffer (n) { … }` */
export const buffer = (bytes: Aml): Aml => sized([0x11], integer(bytes.length), bytes);

/** `OperationRegion (NAME, SystemMemory, address, length)` */
export const memoryRegion = (text: string, address: number | bigint, length: number): Aml =>
  concat([0x5b, 0x80], path(text), [0x00], integer(address), integer(length));
/** `Field (REGION, DWordAcc, NoLock, WriteAsZeros) { NAME, 32 }` */
export const dwordField = (region: string, text: string): Aml =>
  sized([0x5b, 0x81], path(region), [0x43], path(text), packageLengthOfBits(32));

/** The width of a field's unit has the form of a PkgLength, without its own bytes in it. */
function packageLengthOfBits(bits: number): number[] {
  return bits < 0x40 ? [bits] : [0x40 | (bits & 0xf), bits >> 4];
}

/** `LocalN` and `ArgN` */
export const local = (number: number): Aml => [0x60 + number];
export const argument = (number: number): Aml => [0x68 + number];
/** `CreateDWordField (source, offset, NAME)` */
export const createDwordField = (source: Aml, offset: number, text: string): Aml =>
  concat([0x8a], source, integer(offset), path(text));
/** `target = value` */
export const store = (value: Aml, target: Aml): Aml => concat([0x70], value, target);
/** `target = a & b`; without a target for use in an expression. */
export const and = (a: Aml, b: Aml, target: Aml = [0x00]): Aml => concat([0x7b], a, b, target);
/** `target = a | b` */
export const or = (a: Aml, b: Aml, target: Aml = [0x00]): Aml => concat([0x7d], a, b, target);
/** `a == b`, `a != b` */
export const equal = (a: Aml, b: Aml): Aml => concat([0x93], a, b);
export const notEqual = (a: Aml, b: Aml): Aml => concat([0x92], equal(a, b));
/** `If (condition) { … }`, and an `Else { … }` behind it. */
export const when = (condition: Aml, ...terms: readonly Aml[]): Aml => sized([0xa0], condition, ...terms);
export const otherwise = (...terms: readonly Aml[]): Aml => sized([0xa1], ...terms);
/** `Return (value)` */
export const giveBack = (value: Aml): Aml => concat([0xa4], value);
/** `Notify (DEVICE, value)` */
export const notify = (text: string, value: number): Aml => concat([0x86], path(text), integer(value));

/** `EisaId ("PNP0A03")`: three letters of five bits and four digits, big-endian (19.6.36). */
export function eisaId(text: string): Aml {
  const letter = (index: number): number => text.charCodeAt(index) - 0x40;
  const letters = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const digits = Number.parseInt(text.slice(3), 16);
  return [0x0c, letters >> 8, letters & 0xff, digits >> 8, digits & 0xff];
}

/** `ToUUID ("xxxxxxxx-…")`: the first three groups little-endian (19.6.142). */
export function uuidBytes(text: string): Aml {
  const bytes = (text.replaceAll("-", "").match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16));
  return [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map((index) => bytes[index] ?? 0);
}
