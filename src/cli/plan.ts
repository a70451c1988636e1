/** `directboot plan`: what a load would do. */
import { formatAddress, formatSize } from "../inspect/sizes.js";
import { planLinux } from "../linux/load-linux.js";
import { formatRegions, formatRegisters, formatTable, printJson } from "./format.js";
import { linuxOptions } from "./load.js";
import { LOAD_OPTIONS, parseArguments } from "./options.js";

export async function planCommand(argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, LOAD_OPTIONS);
  const plan = await planLinux(linuxOptions(args));
  plan.close();
  if (args.flag("json")) {
    printJson(plan);
    return 0;
  }
  const { kernel, initrd, dtb } = plan.info;
  const rows = [
    ["entry mode", plan.entryMode],
    [
      "kernel",
      `${formatAddress(kernel.gpa)}, ${formatSize(kernel.size)}, entry ${formatAddress(kernel.entrypoint)}`,
    ],
    ["initrd", initrd === undefined ? "none" : `${formatAddress(initrd.gpa)}, ${formatSize(initrd.size)}`],
    [
      "device tree",
      dtb === undefined ? "none" : `${formatAddress(dtb.start)}, ${formatSize(dtb.end - dtb.start)}`,
    ],
    ["RAM", plan.layout.toString()],
  ];
  const text = [
    formatTable(rows, ""),
    "pages",
    formatRegions(plan.pages),
    "registers",
    formatRegisters(plan.registerList),
  ];
  process.stdout.write(`${text.join("\n")}\n`);
  return 0;
}
