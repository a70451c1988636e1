/**
 * Headers field by field, for people: offset, name, value, and what the value means. Imported by the command only; the
 * loaders read headers with the parsers, so that none of this prose is in a bundle.
 */
import { hex } from "../base/address.js";

/** A field of a file's header. */
export interface HeaderField {
  /** The protocol's own name. */
  readonly name: string;
  /** In the file, in bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** The integer, little-endian; text for a field that holds text. */
  readonly value: bigint | string;
  /** The value in words. */
  readonly meaning: string;
  /** The document that says so, and its section. */
  readonly section: string;
  /** The first version of the protocol that has the field, where the protocol counts versions. */
  readonly since?: string;
}

/** A field, without a file's value. */
export interface FieldDefinition {
  readonly name: string;
  /** From the start of its header, in bytes. */
  readonly offset: number;
  /** Bytes, at most 8. */
  readonly size: number;
  /** Words for the value, or for any value. */
  readonly meaning: string | ((value: bigint) => string);
}

/** The little-endian integer of `size` bytes at `offset`. */
export function readInteger(bytes: Uint8Array, offset: number, size: number): bigint {
  let value = 0n;
  for (let at = offset + size - 1; at >= offset; at--) value = (value << 8n) | BigInt(bytes[at] ?? 0);
  return value;
}

/** The fields of a header that `bytes` holds whole; `base` is where it starts in the file. */
export function decodeFields(
  bytes: Uint8Array,
  definitions: readonly FieldDefinition[],
  section: string,
  base = 0,
  prefix = "",
): HeaderField[] {
  return definitions
    .filter(({ offset, size }) => offset + size <= bytes.byteLength)
    .map(({ name, offset, size, meaning }) => {
      const value = readInteger(bytes, offset, size);
      return {
        name: `${prefix}${name}`,
        offset: base + offset,
        size,
        value,
        meaning: typeof meaning === "string" ? meaning : meaning(value),
        section,
      };
    });
}

/** The bits that are set, by name; those without a name as a number; "none". */
export function bitNames(value: bigint, names: Readonly<Record<string, number>>): string {
  const found = Object.entries(names).filter(([, bit]) => (value & BigInt(bit)) !== 0n);
  const rest = found.reduce((left, [, bit]) => left & ~BigInt(bit), value);
  const words = found.map(([name]) => name);
  if (rest !== 0n) words.push(`unknown ${hex(rest)}`);
  return words.length === 0 ? "none" : words.join(", ");
}

/** The name of a value among `names`, which are keyed by the value as hex ("0x3e"), or `other`. */
export function valueName(value: bigint, names: Readonly<Record<string, string>>, other = "other"): string {
  return Object.hasOwn(names, hex(value)) ? (names[hex(value)] ?? other) : other;
}

/** `text` where the value is the one magic number; what is wanted where it is not. */
export function magicMeaning(value: bigint, wanted: number, text: string): string {
  return value === BigInt(wanted) ? text : `not ${text}: ${hex(wanted)} is wanted`;
}

/** Bytes as text up to the first NUL; what is no printable ASCII is "?", since a terminal would obey it. */
export function printableText(bytes: Uint8Array): string {
  const nul = bytes.indexOf(0);
  return Array.from(nul < 0 ? bytes : bytes.subarray(0, nul), (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?",
  ).join("");
}
