/** `directboot plan`: what a load would do. */
import { formatAddress, formatSize } from "../inspect/sizes.js";
import { planLinux } from "../linux/load-linux.js";
import { formatRegions, formatRegisters, formatTable, printJson } from "./format.js";
import { loadRequest } from "./load.js";
import { type Arguments, type Command, LOAD_OPTIONS } from "./options.js";

async function run(args: Arguments): Promise<number> {
  const plan = await planLinux((await loadRequest(args)).options);
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

export const planCommand: Command = {
  summary: "where everything would go, and the registers",
  operands: "[KERNEL]",
  options: LOAD_OPTIONS,
  examples: [
    ["plan vmlinuz --initrd initrd.img --append 'console=ttyS0'", "what a load would do"],
    ["plan Image --dtb board.dtb --memory 1G --json", "the plan as data"],
  ],
  run,
};
