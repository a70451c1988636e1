/** From arguments to a plan, and from the plan to a loaded guest. */

import { ARM64_PAGE_SIZES } from "../images/arm64-image.js";
import { describeFormat } from "../images/detect.js";
import { GuestMemoryImporter } from "../importers/guest-memory-importer.js";
import { formatAddress, formatSize } from "../inspect/sizes.js";
import { type DetectedKernel, detectKernel } from "../linux/detect-kernel.js";
import { planLinux } from "../linux/load-linux.js";
import { LinuxGuest } from "../linux/loaded-linux.js";
import type { LoadLinuxSyncOptions } from "../linux/options.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { applyPlan } from "../plan/apply.js";
import { formatMilliseconds, formatRegions, formatTable } from "./format.js";
import { checkPaths, type FileInput, fileInput } from "./input.js";
import { type Arguments, parseAddress, parseReservation, parseSize, UsageError, wordOf } from "./options.js";
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

/** The one file that a command takes; without, the embedded guest. */
export async function kernelInput({ positionals }: Arguments): Promise<FileInput> {
  if (positionals.length > 1) throw new UsageError(`one file is expected, got ${positionals.join(" ")}`);
  return positionals[0] === undefined ? embeddedKernel() : await fileInput(positionals[0]);
}

/** What a load is to do. */
export interface LoadRequest {
  readonly options: LoadLinuxSyncOptions;
  readonly detected: DetectedKernel;
}

/** Any arm64 kernel is taken: whether a CPU has its page size is known when it is started. */
const ANY_ARM64_KERNEL = { pageSizes: ARM64_PAGE_SIZES, lowPlacement: true } as const;

/** The options of a load, for the kernel that the arguments name. */
export async function loadRequest(args: Arguments): Promise<LoadRequest> {
  const address = (flag: string): bigint | undefined => {
    const text = args.text(flag);
    return text === undefined ? undefined : parseAddress(text, flag);
  };
  if (args.text("initrd-address") !== undefined && args.texts("initrd").length === 0) {
    throw new UsageError("--initrd-address goes with --initrd");
  }
  const entry = wordOf(args, "entry", "64", "32", "pvh");
  const decompress = wordOf(args, "decompress", "host", "guest");
  const addresses = { kernel: address("kernel-address"), initrd: address("initrd-address") };
  const reservations = args.texts("reserve").map((text) => parseReservation(text, "reserve"));
  const memory = memorySize(args);
  const dtb = args.text("dtb");
  const seed = args.text("rng-seed");
  checkPaths([...args.positionals, ...args.texts("initrd"), dtb ?? "", seed ?? ""]);
  const kernel = await kernelInput(args);
  const initrds: FileInput[] = [];
  for (const path of args.texts("initrd")) initrds.push(await fileInput(path));
  const detected = await detectKernel(kernel);
  const isDefault = args.positionals.length === 0;
  const options = {
    kernel,
    initrd: initrds.length === 0 ? undefined : initrds,
    commandLine: args.text("append") ?? (isDefault ? DEFAULT_COMMAND_LINE : undefined),
    deviceTree: dtb === undefined ? undefined : await fileInput(dtb),
    entry,
    addresses,
    reservations: reservations.length === 0 ? undefined : reservations,
    rngSeed: seed === undefined ? undefined : await readSeed(seed),
    decompress,
    decompressInitrd: args.flag("decompress-initrd"),
    arm64: detected.architecture === "aarch64" ? ANY_ARM64_KERNEL : undefined,
    memory,
  };
  return { options, detected };
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

/** The same as data: the keys that the JSON of `export` and `boot` has in common with that of `plan`. */
export function loadedJson({ guest, planMilliseconds, loadMilliseconds }: LoadedGuest): object {
  const { architecture, entryMode, info } = guest;
  return { architecture, entryMode, info, planMilliseconds, loadMilliseconds };
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
