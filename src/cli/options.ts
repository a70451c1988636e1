/** Arguments of the commands. */
import { parseArgs } from "node:util";
import { E820_RESERVED, type E820Entry } from "../x86/e820.js";

/** Wrong usage: exit status 2, as opposed to a bad input's 1. */
export class UsageError extends Error {}

/** Options that take a value, or none. */
export type OptionTable = Readonly<
  Record<
    string,
    { readonly type: "string" | "boolean"; readonly multiple?: boolean; readonly short?: string }
  >
>;

/** Options of `plan`, `export` and `boot`. */
export const LOAD_OPTIONS = {
  initrd: { type: "string", multiple: true },
  "initrd-address": { type: "string" },
  "kernel-address": { type: "string" },
  append: { type: "string" },
  memory: { type: "string" },
  dtb: { type: "string" },
  entry: { type: "string" },
  reserve: { type: "string", multiple: true },
  "rng-seed": { type: "string" },
  decompress: { type: "string" },
  "decompress-initrd": { type: "boolean" },
  json: { type: "boolean" },
} as const satisfies OptionTable;

/** Parsed arguments: option values by name, and the rest. */
export interface Arguments {
  readonly text: (name: string) => string | undefined;
  /** All values of an option that may be given more than once. */
  readonly texts: (name: string) => readonly string[];
  readonly flag: (name: string) => boolean;
  readonly positionals: readonly string[];
}

/** Parses arguments. Throws UsageError for an option that the command does not have. */
export function parseArguments(argv: readonly string[], options: OptionTable): Arguments {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause));
  }
  return {
    text: (name) => {
      const value = parsed.values[name];
      return typeof value === "string" ? value : undefined;
    },
    texts: (name) => {
      const values = parsed.values[name];
      return Array.isArray(values) ? values.map(String) : [];
    },
    flag: (name) => parsed.values[name] === true,
    positionals: parsed.positionals,
  };
}

const UNITS: Readonly<Record<string, bigint>> = {
  "": 1n,
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
};

/** "256M", "6G", "0x10000000": bytes. Throws UsageError for anything else. */
export function parseSize(text: string, option: string): bigint {
  const match = /^(0x[0-9a-f]+|[0-9]+)([KMGT]?)(i?B)?$/i.exec(text);
  const unit = UNITS[match?.[2]?.toUpperCase() ?? ""];
  if (match?.[1] === undefined || unit === undefined) {
    throw new UsageError(`--${option} ${text}: give bytes, or a number with K, M, G or T`);
  }
  return BigInt(match[1].toLowerCase()) * unit;
}

/** A guest physical address. Throws UsageError for anything but a decimal or 0x number. */
export function parseAddress(text: string, option: string): bigint {
  if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) {
    throw new UsageError(`--${option} ${text}: give an address, such as 0x2000000`);
  }
  return BigInt(text.toLowerCase());
}

/** "0x9f000-0xa0000", "0xfec00000-0xfee00000:2": an e820 entry. Throws UsageError for anything else. */
export function parseReservation(text: string, option: string): E820Entry {
  const match = /^([^-:]+)-([^-:]+)(?::([0-9]{1,10}))?$/.exec(text);
  const [, start, end, type] = match ?? [];
  if (start === undefined || end === undefined) {
    throw new UsageError(`--${option} ${text}: give FROM-TO or FROM-TO:TYPE, such as 0x9f000-0xa0000`);
  }
  return {
    start: parseAddress(start, option),
    end: parseAddress(end, option),
    type: type === undefined ? E820_RESERVED : Number(type),
  };
}

/** A positive number of seconds. Throws UsageError for anything else. */
export function parseSeconds(text: string, option: string): number {
  const seconds = Number(text);
  if (!(seconds > 0 && seconds < 1e6)) throw new UsageError(`--${option} ${text}: give seconds`);
  return seconds;
}
