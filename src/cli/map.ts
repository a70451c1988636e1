/** `directboot map`: a picture of guest memory. */

import { drawMemoryMap } from "../inspect/draw-memory-map.js";
import type { MemoryMapTheme } from "../inspect/map-theme.js";
import { memoryMapOf } from "../inspect/memory-map.js";
import { formatSize } from "../inspect/sizes.js";
import { planLinuxSync } from "../linux/load-linux-sync.js";
import { linuxOptions } from "./load.js";
import { LOAD_OPTIONS, parseArguments, parseSize, UsageError } from "./options.js";
import { writeFile } from "./output.js";

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

export async function mapCommand(argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, MAP_OPTIONS);
  const out = args.text("out");
  if (out === "") throw new UsageError("-o needs a file");
  const theme = themeOf(args.text("theme"));
  const width = widthOf(args.text("width"));
  const [start, end] = ["start", "end"].map((option) => {
    const text = args.text(option);
    return text === undefined ? undefined : parseSize(text, option);
  });
  const plan = planLinuxSync(linuxOptions(args));
  plan.close();
  const map = memoryMapOf(plan);
  const text = args.flag("json")
    ? `${JSON.stringify(map, null, 2)}\n`
    : drawMemoryMap(map, { title: args.text("title"), theme, width, start, end });
  if (out === undefined) {
    process.stdout.write(text);
  } else {
    const bytes = new TextEncoder().encode(text);
    await writeFile(out, bytes);
    process.stdout.write(`wrote ${formatSize(bytes.byteLength)} to ${out}\n`);
  }
  return 0;
}
