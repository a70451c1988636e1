/** The meaning of a field's value in words, for headers and registers that are shown field by field. */
import { hex } from "./address.js";

/**
 * One text for any value, in which `{}` stands for the value and `{hex}` for its hex form; a text for each value, from 0
 * on or by number; or a function.
 */
export type Meaning =
  | string
  | readonly string[]
  | Readonly<Record<number, string>>
  | ((value: bigint) => string);

/** The words for a value. A value without a text is "reserved" in a list, and "other" by number. */
export function meaningOf(meaning: Meaning, value: bigint): string {
  if (typeof meaning === "string") return meaning.replace("{}", `${value}`).replace("{hex}", hex(value));
  if (typeof meaning === "function") return meaning(value);
  return meaning[Number(value)] ?? (Array.isArray(meaning) ? "reserved" : "other");
}

/** One text for 0, and a meaning of all other values. */
export function zeroOr(zero: string, other: Meaning): Meaning {
  return (value) => (value === 0n ? zero : meaningOf(other, value));
}

/** The one value that a field may have. */
export function magic(wanted: number, text: string): Meaning {
  return (value) => (value === BigInt(wanted) ? text : `not ${text}: ${hex(wanted)} is wanted`);
}

/** The bits that are set, by name; those without a name as a number; "none". */
export function flagNames(names: Readonly<Record<string, number>>): Meaning {
  return (value) => {
    const found = Object.entries(names).filter(([, flag]) => (value & BigInt(flag)) !== 0n);
    const rest = found.reduce((left, [, flag]) => left & ~BigInt(flag), value);
    const words = found.map(([name]) => name);
    if (rest !== 0n) words.push(`unknown ${hex(rest)}`);
    return words.join(", ") || "none";
  };
}
