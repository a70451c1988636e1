/** From arguments to a plan, and from the plan to a loaded guest. */

import { describeFormat } from "../images/detect.js";
import { GuestMemoryImporter } from "../importers/guest-memory-importer.js";
import { formatAddress, formatSize } from "../inspect/sizes.js";
import { planLinux } from "../linux/load-linux.js";
import { LinuxGuest } from "../linux/loaded-linux.js";
import type { LoadLinuxSyncOptions } from "../linux/options.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { applyPlan } from "../plan/apply.js";
import { formatMilliseconds, formatRegions, formatTable } from "./format.js";
import { type Arguments, parseAddress, parseReservation, parseSize, UsageError } from "./options.js";
import { packageFile } from "./package-files.js";
import { withProgressBar } from "./progress.js";
import { readSeed } from "./seed.js";

const DEFAULT_MEMORY = "256M";

/** The embedded guest reads this back, unless the caller gives another one. */
const DEFAULT_COMMAND_LINE = "console=ttyS0 directboot=default";

/** The kernel that comes with the package. */
export function embeddedKernel(): string {
  return packageFile("guests/x86_64.elf");
}

/** RAM that the arguments ask for, bytes. */
export function memorySize(args: Arguments): bigint {
  return parseSize(args.text("memory") ?? DEFAULT_MEMORY, "memory");
}

/** The options of a load. Without KERNEL, the embedded guest. */
export function linuxOptions(args: Arguments): LoadLinuxSyncOptions {
  if (args.positionals.length > 1) {
    throw new UsageError(`one KERNEL is expected, got ${args.positionals.join(" ")}`);
  }
  const [kernel] = args.positionals;
  const address = (flag: string): bigint | undefined => {
    const text = args.text(flag);
    return text === undefined ? undefined : parseAddress(text, flag);
  };
  const initrds = args.texts("initrd");
  const entry = args.text("entry");
  if (entry !== undefined && entry !== "64" && entry !== "32" && entry !== "pvh") {
    throw new UsageError(`--entry ${entry}: give 64, 32 or pvh`);
  }
  const decompress = args.text("decompress");
  if (decompress !== undefined && decompress !== "host" && decompress !== "guest") {
    throw new UsageError(`--decompress ${decompress}: give host or guest`);
  }
  if (args.text("initrd-address") !== undefined && initrds.length === 0) {
    throw new UsageError("--initrd-address goes with --initrd");
  }
  const reserved = args.texts("reserve");
  const seed = args.text("rng-seed");
  return {
    kernel: kernel ?? embeddedKernel(),
    initrd: initrds.length === 0 ? undefined : initrds,
    commandLine: args.text("append") ?? (kernel === undefined ? DEFAULT_COMMAND_LINE : undefined),
    deviceTree: args.text("dtb"),
    entry,
    addresses: { kernel: address("kernel-address"), initrd: address("initrd-address") },
    reservations:
      reserved.length === 0 ? undefined : reserved.map((text) => parseReservation(text, "reserve")),
    rngSeed: seed === undefined ? undefined : readSeed(seed),
    decompress,
    decompressInitrd: args.flag("decompress-initrd"),
    memory: memorySize(args),
  };
}

/** A guest that was loaded, and how long it took. */
export interface LoadedGuest {
  readonly guest: LinuxGuest;
  readonly planMilliseconds: number;
  readonly loadMilliseconds: number;
}

/** Plans and loads, with a progress bar where it takes long; asynchronously, so that signals are heeded. */
export async function loadGuest(options: LoadLinuxSyncOptions): Promise<LoadedGuest> {
  const start = performance.now();
  const plan = await planLinux(options);
  try {
    const planned = performance.now();
    const importer = new GuestMemoryImporter(GuestMemory.create(plan.layout));
    await withProgressBar("loading", (onProgress) => applyPlan(plan, importer, { onProgress }));
    return {
      guest: new LinuxGuest(importer, plan),
      planMilliseconds: planned - start,
      loadMilliseconds: performance.now() - planned,
    };
  } finally {
    plan.close();
  }
}

/** The regions of a loaded guest and the times it took, as text. */
export function formatLoaded({ guest, planMilliseconds, loadMilliseconds }: LoadedGuest): string {
  const { kernel, initrd, dtb } = guest.info;
  const bytes = guest.regions.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const rows = [
    [
      "kernel",
      formatAddress(kernel.gpa),
      `${formatSize(kernel.size)}, entry ${formatAddress(kernel.entrypoint)}`,
    ],
  ];
  if (initrd !== undefined) rows.push(["initrd", formatAddress(initrd.gpa), formatSize(initrd.size)]);
  const { decompression } = guest;
  if (decompression !== undefined) {
    const { by, format, compressedBytes } = decompression;
    const size = compressedBytes === undefined ? "" : `, ${formatSize(compressedBytes)}`;
    rows.push(["compressed", `by the ${by}`, `${describeFormat(format)}${size}`]);
  }
  if (dtb !== undefined)
    rows.push(["device tree", formatAddress(dtb.start), formatSize(dtb.end - dtb.start)]);
  return [
    `loaded ${formatSize(bytes)} in ${formatMilliseconds(loadMilliseconds)} (planned in ${formatMilliseconds(planMilliseconds)})`,
    formatTable(rows),
    formatRegions(guest.regions),
  ].join("\n");
}
