/** Options of the commands: tables that are parsed, shown as help and completed by shells. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { nearest } from "../base/options.js";
import { E820_RESERVED, type E820Entry } from "../x86/e820.js";

/** Wrong usage: exit status 2, as opposed to a bad input's 1. */
export class UsageError extends Error {}

/** An option; one without `value` is a flag. */
export interface Option {
  /** What its value is, as help shows it: "FILE" and "DIR" are completed with files and folders, "a|b" with its words. */
  readonly value?: string;
  readonly help: string;
  readonly short?: string;
  /** May be given more than once. */
  readonly multiple?: boolean;
}

export type OptionTable = Readonly<Record<string, Option>>;

/** What every command takes. */
export const COMMON_OPTIONS = {
  json: { help: "the result, or the error, as JSON" },
  help: { help: "this text", short: "h" },
} as const satisfies OptionTable;

/** Options of `plan`, `export`, `map` and `boot`. */
export const LOAD_OPTIONS = {
  initrd: {
    value: "FILE",
    multiple: true,
    help: "an initial RAM disk; repeat the option to concatenate several",
  },
  append: { value: "TEXT", help: "the kernel's command line" },
  memory: { value: "SIZE", help: "RAM: bytes, or a number with K, M, G or T (default: 256M)" },
  dtb: {
    value: "FILE",
    help: "the machine's device tree, which an arm64 kernel needs (boot's default: QEMU's own)",
  },
  entry: { value: "64|32|pvh", help: "x86: the way into the kernel (default: 64, of a 32-bit kernel 32)" },
  "kernel-address": { value: "ADDRESS", help: "a bzImage's address (default: the one in its header)" },
  "initrd-address": {
    value: "ADDRESS",
    help: "the initrd's address (default: the next 2 MiB boundary after the kernel)",
  },
  reserve: {
    value: "FROM-TO[:TYPE]",
    multiple: true,
    help: "x86: addresses that the guest must not use as RAM, with an e820 type (default: 2)",
  },
  "rng-seed": {
    value: "FILE",
    help: "x86: bytes for the guest's random numbers; 32 bytes of a device (/dev/urandom)",
  },
  decompress: { value: "host|guest", help: "who decompresses a bzImage's kernel (default: the host)" },
  "decompress-initrd": { help: "decompress the initrd on the host" },
} as const satisfies OptionTable;

/** For commands that write files. */
export const FORCE_OPTION = { help: "replace what is there", short: "f" } as const satisfies Option;

/** A command, and what help and shells say of it. */
export interface Command {
  /** One line. */
  readonly summary: string;
  /** Its operands, as in "[KERNEL]". */
  readonly operands: string;
  readonly options: OptionTable;
  readonly examples: readonly (readonly [command: string, purpose: string])[];
  /** Returns the exit status. */
  readonly run: (args: Arguments) => number | Promise<number>;
}

/** All options that a command takes. */
export function optionsOf({ options }: Command): OptionTable {
  return { ...options, ...COMMON_OPTIONS };
}

/** Parsed arguments: option values by name, and the rest. */
export interface Arguments {
  readonly text: (name: string) => string | undefined;
  /** All values of an option that may be given more than once. */
  readonly texts: (name: string) => readonly string[];
  readonly flag: (name: string) => boolean;
  readonly positionals: readonly string[];
}

/** Throws UsageError for a word that is none of `known`, with the one that may be meant. */
export function unknownWord(
  kind: string,
  word: string,
  prefix: string,
  known: readonly string[],
): UsageError {
  const near = nearest(word, known);
  const hint = near === undefined ? "" : `; did you mean ${prefix}${near}?`;
  return new UsageError(`there is no ${kind} ${JSON.stringify(`${prefix}${word}`)}${hint}`);
}

/** Parses arguments. Throws UsageError for an option that the table does not have, or that lacks its value. */
export function parseArguments(argv: readonly string[], table: OptionTable): Arguments {
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const [name, { value, short, multiple = false }] of Object.entries(table)) {
    const type = value === undefined ? "boolean" : "string";
    options[name] = { type, multiple, ...(short === undefined ? {} : { short }) };
  }
  const config = { args: [...argv], options, strict: false, allowPositionals: true } as const;
  const { tokens } = parseArgs({ ...config, tokens: true });
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const option = Object.hasOwn(table, name) ? table[name] : undefined;
    if (option === undefined) {
      const prefix = rawName.startsWith("--") ? "--" : "-";
      throw unknownWord("option", name, prefix, prefix === "-" ? [] : Object.keys(table));
    }
    if (option.value === undefined) {
      if (value !== undefined) throw new UsageError(`${rawName} takes no value`);
    } else if (value === undefined) {
      throw new UsageError(`${rawName} needs a value: ${rawName} ${option.value}`);
    } else if (inlineValue !== true && value.startsWith("-") && value !== "-") {
      throw new UsageError(
        `${rawName} is followed by ${value}: if that is its value, write --${name}=${value}`,
      );
    }
    values.set(name, [...(values.get(name) ?? []), value ?? ""]);
  }
  return {
    text: (name) => values.get(name)?.at(-1),
    texts: (name) => values.get(name) ?? [],
    flag: (name) => values.has(name),
    positionals,
  };
}

/** The value of an option that takes one of the words of its table. Throws UsageError for another. */
export function wordOf<Word extends string>(
  args: Arguments,
  name: string,
  ...words: Word[]
): Word | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  const word = words.find((each) => each === text);
  if (word === undefined)
    throw new UsageError(`--${name} ${text}: give ${words.join(", ").replace(/, ([^,]*)$/, " or $1")}`);
  return word;
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
