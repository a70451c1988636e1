/** The commands, by name: what is run, shown as help and completed. */
import { bootCommand } from "./boot.js";
import { completionCommand } from "./completion.js";
import { crc32Command } from "./crc32.js";
import { exportCommand } from "./export.js";
import { extractCommand } from "./extract.js";
import { inspectCommand } from "./inspect.js";
import { mapCommand } from "./map.js";
import type { Command } from "./options.js";
import { planCommand } from "./plan.js";

export const COMMANDS: Readonly<Record<string, Command>> = {
  inspect: inspectCommand,
  plan: planCommand,
  export: exportCommand,
  map: mapCommand,
  boot: bootCommand,
  extract: extractCommand,
  crc32: crc32Command,
  completion: completionCommand(() => COMMANDS),
};
