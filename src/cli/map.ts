/** `directboot map`: a picture of guest memory. */

import { drawMemoryMap } from "../inspect/draw-memory-map.js";
import { memoryMapOf } from "../inspect/memory-map.js";
import { formatSize } from "../inspect/sizes.js";
import { planLinuxSync } from "../linux/load-linux-sync.js";
import { loadRequest } from "./load.js";
import {
  type Arguments,
  type Command,
  FORCE_OPTION,
  LOAD_OPTIONS,
  parseSize,
  UsageError,
  wordOf,
} from "./options.js";
import { checkNew, writeFile } from "./output.js";

/** Pixels that a picture may be wide. */
const MOST_WIDTH = 100_000;

/** Pictures that are no SVG. */
const OTHER_PICTURE = /\.(png|jpe?g|webp|gif|avif|bmp|pdf|tiff?)$/i;

function widthOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const width = Number(text);
  if (!/^[0-9]+$/.test(text) || width < 1 || width > MOST_WIDTH) {
    throw new UsageError(`--width ${text}: give pixels, 1 to ${MOST_WIDTH}`);
  }
  return width;
}

async function run(args: Arguments): Promise<number> {
  const out = args.text("out");
  if (out === "") throw new UsageError("-o needs a file");
  if (out !== undefined && OTHER_PICTURE.test(out)) {
    throw new UsageError(`-o ${out}: map writes SVG; name it .svg, and have another program convert it`);
  }
  const theme = wordOf(args, "theme", "auto", "light", "dark");
  const width = widthOf(args.text("width"));
  const [start, end] = ["start", "end"].map((option) => {
    const text = args.text(option);
    return text === undefined ? undefined : parseSize(text, option);
  });
  if (out !== undefined && !args.flag("force")) checkNew(out);
  const plan = planLinuxSync((await loadRequest(args)).options);
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

export const mapCommand: Command = {
  summary: "a picture of guest memory, to scale, as SVG",
  operands: "[KERNEL]",
  options: {
    out: { value: "FILE", short: "o", help: "where the SVG goes (default: standard output)" },
    force: FORCE_OPTION,
    title: { value: "TEXT", help: "its title" },
    theme: { value: "auto|light|dark", help: "its colours (default: auto, as the reader's system has them)" },
    width: { value: "PIXELS", help: "how wide it is (default: as wide as it needs)" },
    start: { value: "ADDRESS", help: "the first address to show (default: the lowest that has RAM)" },
    end: { value: "ADDRESS", help: "the end of what is shown, such as 1M (default: the end of RAM)" },
    ...LOAD_OPTIONS,
  },
  examples: [
    ["map vmlinuz --initrd initrd.img -o guest.svg", "all of guest memory"],
    ["map vmlinuz --end 1M -o low.svg", "the first MiB"],
  ],
  run,
};
