/** How a register is described: its fields bit by bit, and its part in the boot protocol. */
import { hex } from "../base/address.js";

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

/** The definition of a field. Bits are numbered from 0. */
export interface RegisterFieldDefinition {
  readonly high: number;
  readonly low: number;
  readonly name: string;
  /** The meaning of a value; two texts are for a bit that is clear, and set. */
  readonly meaning: string | readonly [clear: string, set: string] | ((value: bigint) => string);
}

/** A register's layout. */
export interface RegisterDefinition {
  /** The register's name in its manual. */
  readonly title: string;
  /** Manual, volume and section. */
  readonly source: string;
  /** The boot protocol's demand on it. */
  readonly role: string | ((value: bigint) => string);
  readonly fields: readonly RegisterFieldDefinition[];
}

/** One bit: what it means when it is clear, and when it is set. */
export function bit(at: number, name: string, clear: string, set: string): RegisterFieldDefinition {
  return { high: at, low: at, name, meaning: [clear, set] };
}

/** Several bits. */
export function bits(
  high: number,
  low: number,
  name: string,
  meaning: string | ((value: bigint) => string),
): RegisterFieldDefinition {
  return { high, low, name, meaning };
}

/** Words for the values from 0 on; "reserved" for what has none. */
export function oneOf(...words: readonly string[]): (value: bigint) => string {
  return (value) => words[Number(value)] ?? "reserved";
}

function mask({ high, low }: Pick<RegisterFieldDefinition, "high" | "low">): bigint {
  return (1n << BigInt(high - low + 1)) - 1n;
}

function words(meaning: RegisterFieldDefinition["meaning"], value: bigint): string {
  if (typeof meaning === "string") return meaning;
  if (typeof meaning === "function") return meaning(value);
  return meaning[value === 0n ? 0 : 1];
}

/** The fields of `value`, highest bit first; bits that are set and have no name come as "reserved". */
export function describeFields(
  definitions: readonly RegisterFieldDefinition[],
  value: bigint,
  part: RegisterPart,
): RegisterField[] {
  let rest = value;
  const found = definitions.map((definition) => {
    const { high, low, name, meaning } = definition;
    rest &= ~(mask(definition) << BigInt(low));
    const field = (value >> BigInt(low)) & mask(definition);
    return { high, low, name, value: field, meaning: words(meaning, field) };
  });
  for (let at = 0; rest >> BigInt(at) !== 0n; at++) {
    if (((rest >> BigInt(at)) & 1n) === 0n) continue;
    found.push({ high: at, low: at, name: "reserved", value: 1n, meaning: "reserved, and set" });
  }
  return found
    .sort((a, b) => b.high - a.high)
    .map(({ high, low, name, value: field, meaning }) => ({
      bits: high === low ? `${high}` : `${high}:${low}`,
      name,
      value: hex(field),
      meaning,
      part,
    }));
}
