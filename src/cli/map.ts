/** `directboot map`: a picture of guest memory. */
import { randomBytes } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { drawMemoryMap } from "../inspect/draw-memory-map.js";
import type { MemoryMapTheme } from "../inspect/map-theme.js";
import { memoryMapOf } from "../inspect/memory-map.js";
import { planLinuxSync } from "../linux/load-linux-sync.js";
import { formatBytes } from "./format.js";
import { linuxOptions } from "./load.js";
import { LOAD_OPTIONS, outputError, parseArguments, parseSize, UsageError } from "./options.js";

const MAP_OPTIONS = {
  ...LOAD_OPTIONS,
  out: { type: "string", short: "o" },
  title: { type: "string" },
  theme: { type: "string" },
  width: { type: "string" },
  start: { type: "string" },
  end: { type: "string" },
} as const;

/** Pixels that a picture may be wide. */
const MOST_WIDTH = 100_000;

function themeOf(text: string | undefined): MemoryMapTheme | undefined {
  if (text === undefined || text === "auto" || text === "light" || text === "dark") return text;
  throw new UsageError(`--theme ${text}: give auto, light or dark`);
}

function widthOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const width = Number(text);
  if (!/^[0-9]+$/.test(text) || width < 1 || width > MOST_WIDTH) {
    throw new UsageError(`--width ${text}: give pixels, 1 to ${MOST_WIDTH}`);
  }
  return width;
}

/** An address, also with a unit. */
function addressOf(text: string | undefined, option: string): bigint | undefined {
  return text === undefined ? undefined : parseSize(text, option);
}

/** Writes a file beside `out` and renames it: it is whole or not there. */
function writeWhole(out: string, text: string): void {
  const target = resolve(out);
  const partial = `${target}.partial-${process.pid}-${randomBytes(4).toString("hex")}`;
  const remove = (): void => rmSync(partial, { force: true });
  process.once("exit", remove);
  try {
    writeFileSync(partial, text, { flag: "wx" });
    renameSync(partial, target);
  } catch (cause) {
    throw outputError(out, cause);
  } finally {
    remove();
    process.removeListener("exit", remove);
  }
}

export function mapCommand(argv: readonly string[]): number {
  const args = parseArguments(argv, MAP_OPTIONS);
  const out = args.text("out");
  if (out === "") throw new UsageError("-o needs a file");
  const theme = themeOf(args.text("theme"));
  const width = widthOf(args.text("width"));
  const [start, end] = ["start", "end"].map((option) => addressOf(args.text(option), option));
  const plan = planLinuxSync(linuxOptions(args));
  plan.close();
  const map = memoryMapOf(plan);
  const text = args.flag("json")
    ? `${JSON.stringify(map, null, 2)}\n`
    : drawMemoryMap(map, { title: args.text("title"), theme, width, start, end });
  if (out === undefined) {
    process.stdout.write(text);
  } else {
    writeWhole(out, text);
    process.stdout.write(`wrote ${formatBytes(Buffer.byteLength(text))} to ${out}\n`);
  }
  return 0;
}
