/** How a register is described: its fields bit by bit, and its part in the boot protocol. */
import { hex } from "../base/address.js";
import { type Meaning, meaningOf } from "../base/field-meaning.js";

/** Which part of a register of several parts a field is in. */
export type RegisterPart = "value" | "selector" | "base" | "limit" | "attributes";

/** A field of a register, with its value. */
export interface RegisterField {
  /** "31", or "13:12" for several bits. */
  readonly bits: string;
  /** The manual's own name. */
  readonly name: string;
  /** The field alone, shifted down, as a hex string. */
  readonly value: string;
  /** The value in words. */
  readonly meaning: string;
  /** "value" for a register of one number. */
  readonly part: RegisterPart;
}

/** A row of a register's table: a bit, and what it means when it is clear, and when it is set; or several bits. */
export type RegisterRow =
  | readonly [bit: number, name: string, clear: string, set: string]
  | readonly [bits: `${number}:${number}`, name: string, meaning: Meaning];

/** For bits of an address that start at `low`: the address, with words around it. */
export function addressAt(low: number, before: string, after = ""): Meaning {
  return (value) => `${before} ${hex(value << BigInt(low))}${after}`;
}

/** A register's layout. */
export interface RegisterDefinition {
  /** The register's name in its manual. */
  readonly title: string;
  /** Manual, volume and section. */
  readonly source: string;
  /** The boot protocol's demand on it. */
  readonly role: Meaning;
  readonly fields: readonly RegisterRow[];
}

/** The fields of `value`, highest bit first; bits that are set and have no name come as "reserved". */
export function describeFields(
  rows: readonly RegisterRow[],
  value: bigint,
  part: RegisterPart,
): RegisterField[] {
  let rest = value;
  const found = rows.map(([at, name, ...words]) => {
    const bits = `${at}`;
    const [high = 0, low = high] = bits.split(":").map(Number);
    const mask = (1n << BigInt(high - low + 1)) - 1n;
    const field = (value >> BigInt(low)) & mask;
    rest &= ~(mask << BigInt(low));
    const meaning = meaningOf(words.length === 1 ? words[0] : words, field);
    return { high, field: { bits, name, value: hex(field), meaning, part } };
  });
  for (let high = 0; rest >> BigInt(high) !== 0n; high++) {
    if (((rest >> BigInt(high)) & 1n) === 0n) continue;
    const field = { bits: `${high}`, name: "reserved", value: "0x1", meaning: "reserved, and set", part };
    found.push({ high, field });
  }
  return found.sort((a, b) => b.high - a.high).map(({ field }) => field);
}
