/** The texts of --help. */
import { COMMANDS } from "./commands.js";
import { formatTable } from "./format.js";
import { type Command, type OptionTable, optionsOf } from "./options.js";

/** Columns of a terminal. */
const WIDTH = 100;

const KERNEL = `KERNEL is a kernel as it is distributed: an x86 bzImage (vmlinuz), an x86 ELF (vmlinux, 64-bit or 32-bit), an
arm64 Image, or an EFI zboot image with one in it; all of them also compressed. Without KERNEL, the embedded x86-64 guest is used,
which reports what it was started with.`;

const NOTES = `FILE may be a pipe, or "-" for standard input. Names that begin with "-" go after "--".
Exit status: 0; 1 for a bad input or a failure; 2 for bad usage; 128 plus the number of the signal that ended it.`;

/** Text in lines of at most `width` characters. */
function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1) ?? "";
    if (line !== "" && line.length + word.length >= width) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}

function optionRows(options: OptionTable): string[][] {
  const names = Object.entries(options).map(
    ([name, { short, value }]) =>
      `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`,
  );
  const left = Math.max(...names.map(({ length }) => length));
  return Object.values(options).flatMap(({ help }, index) =>
    wrap(help, WIDTH - left - 4).map((line, at) => [at === 0 ? (names[index] ?? "") : "", line]),
  );
}

/** Help for one command. */
export function commandHelp(name: string, command: Command): string {
  const { summary, operands, examples } = command;
  return [
    `directboot ${name}: ${summary}`,
    "",
    `  directboot ${name} ${operands}`,
    ...(operands.includes("KERNEL") ? ["", ...wrap(KERNEL, WIDTH)] : []),
    "",
    "Options:",
    formatTable(optionRows(optionsOf(command))),
    "",
    "Examples:",
    ...examples.flatMap(([line, purpose]) => [`  # ${purpose}`, `  directboot ${line}`]),
    "",
  ].join("\n");
}

/** Help for all. */
export function generalHelp(): string {
  const rows = Object.entries(COMMANDS).map(([name, { operands, summary }]) => [
    `directboot ${name} ${operands}`,
    summary,
  ]);
  return [
    "directboot: puts a Linux kernel into guest memory, in the state that its boot protocol demands",
    "",
    formatTable(rows),
    "",
    "directboot COMMAND --help has the options of a command, and examples.",
    "",
    formatTable([
      ["-h, --help", "this text"],
      ["-V, --version", "the version"],
      ["--json", "every command's result, or its error, as JSON"],
    ]),
    "",
    ...wrap(KERNEL, WIDTH),
    NOTES,
    "",
  ].join("\n");
}
