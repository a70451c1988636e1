/**
 * Headers field by field, for people: offset, name, value, and what the value means. The loaders read headers with the
 * parsers, so that none of this prose is in their bundles.
 */
import { hex } from "../base/address.js";
import { type Meaning, meaningOf } from "../base/field-meaning.js";

/** A field of a file's header. */
export interface HeaderField {
  /** The protocol's own name. */
  readonly name: string;
  /** In the file, in bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** The kind of `value`: a little-endian integer as a hex string, or text. */
  readonly kind: "integer" | "text";
  readonly value: string;
  /** The value in words. */
  readonly meaning: string;
  /** The document that says so, and its section. */
  readonly section: string;
  /** The first version of the protocol that has the field, where the protocol counts versions. */
  readonly since?: string;
}

/**
 * A row of a header's table: each field starts where the one before it ends. Sizes are in bytes, at most 8. `since` is the
 * first version of the protocol that has the field, where only some have.
 */
export type FieldRow = readonly [name: string, size: number, meaning: Meaning, since?: number];

/** The little-endian integer of `size` bytes at `offset`. */
export function readInteger(bytes: Uint8Array, offset: number, size: number): bigint {
  let value = 0n;
  for (let at = offset + size - 1; at >= offset; at--) value = (value << 8n) | BigInt(bytes[at] ?? 0);
  return value;
}

/** The fields of a header, as far as `bytes` has them; `base` is where the header starts in the file. */
export function decodeFields(
  bytes: Uint8Array,
  rows: readonly FieldRow[],
  section: string,
  base = 0,
  prefix = "",
): HeaderField[] {
  const fields: HeaderField[] = [];
  let at = 0;
  for (const [name, size, meaning] of rows) {
    if (at + size > bytes.byteLength) break;
    const value = readInteger(bytes, at, size);
    const words = { value: hex(value), meaning: meaningOf(meaning, value), section };
    fields.push({ name: `${prefix}${name}`, offset: base + at, size, kind: "integer", ...words });
    at += size;
  }
  return fields;
}

/** Bytes as text up to the first NUL; what is no printable ASCII is "?", since a terminal would obey it. */
export function printableText(bytes: Uint8Array): string {
  const nul = bytes.indexOf(0);
  return Array.from(nul < 0 ? bytes : bytes.subarray(0, nul), (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?",
  ).join("");
}
