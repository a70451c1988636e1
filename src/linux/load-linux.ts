/** Any kernel, one call. */
import { hex, toAddress } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { DETECT_BYTES, detectFormat } from "../images/detect.js";
import {
  GuestMemoryImporter,
  type GuestMemoryImporterOptions,
  type ImportedRegion,
} from "../importers/guest-memory-importer.js";
import type { Aarch64Register, VpRegister, X86Register } from "../importers/importer.js";
import type { LoadInfo } from "../loading/load-info.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { type ApplyOptions, applyPlan, applyPlanSync } from "../plan/apply.js";
import { concatSources } from "../sources/concat.js";
import { gunzipSource, gunzipSourceSync } from "../sources/gzip.js";
import { type OpenSource, openSource } from "../sources/open.js";
import { loaded, type Reading, readHead, runAsync, runSync } from "../sources/reader.js";
import type { AsyncByteInput, Source } from "../sources/source.js";
import { type StreamSource, spoolIfUnknown } from "../sources/stream.js";
import type { Decoders } from "./decoding.js";
import { readTree } from "./device-tree-file.js";
import { plainInitrd } from "./initrd-file.js";
import { type Decompression, isLengthNeeded, openKernelFile, type Unpacking } from "./kernel-file.js";
import { type EntryMode, type GuestArchitecture, LinuxPlan, registerToJSON } from "./linux-plan.js";
import { arm64LayoutOfSize, ramSizeOf, resolveMemory, x86LayoutOfSize } from "./memory.js";
import type { ImporterOption, LinuxOptions, LinuxSources, LinuxSyncOptions, MemoryInput } from "./options.js";
import { checkTreeMemory, planArm64, treeMemory } from "./plan-arm64.js";
import { planX86 } from "./plan-x86.js";

/** Values of the registers by name; one that was not set is undefined, and zero in the guest. */
export type RegistersByName = { readonly [R in X86Register | Aarch64Register as R["name"]]?: R["value"] };

/** A kernel that was loaded. `JSON.stringify` gives what was loaded, without the memory, in hex strings. */
export class LoadedLinux {
  readonly architecture: GuestArchitecture;
  /** The state that the registers start the processor in. */
  readonly entryMode: EntryMode;
  readonly registers: RegistersByName;
  /** The registers in the order in which they were set. */
  readonly registerList: readonly VpRegister[];
  readonly info: LoadInfo;
  /** What lies where. */
  readonly regions: readonly ImportedRegion[];
  /** The RAM that it was loaded for. */
  readonly layout: MemoryLayout;
  /** What of the kernel was compressed, and who undoes it; undefined if nothing was. */
  readonly decompression: Decompression | undefined;

  constructor(plan: LinuxPlan, regions: readonly ImportedRegion[]) {
    this.architecture = plan.architecture;
    this.entryMode = plan.entryMode;
    this.registerList = plan.registers;
    this.registers = Object.fromEntries(this.registerList.map(({ name, value }) => [name, value]));
    this.info = plan.info;
    this.layout = plan.layout;
    this.decompression = plan.decompression;
    this.regions = regions;
  }

  toJSON(): unknown {
    return {
      architecture: this.architecture,
      entryMode: this.entryMode,
      ram: this.layout,
      ...(this.decompression === undefined ? {} : { decompression: this.decompression }),
      registers: Object.fromEntries(
        this.registerList.map((register) => [register.name, registerToJSON(register)]),
      ),
      info: this.info,
      regions: this.regions.map(({ range, tag, acceptance, dataLength, crc32 }) => ({
        gpa: hex(range.start),
        length: hex(range.length),
        dataLength: hex(dataLength),
        tag,
        acceptance,
        ...(crc32 === undefined ? {} : { crc32: hex(crc32) }),
      })),
    };
  }
}

/** A guest whose kernel is loaded, with its memory. */
export class LinuxGuest extends LoadedLinux {
  readonly memory: GuestMemory;

  constructor(importer: GuestMemoryImporter, plan: LinuxPlan) {
    super(plan, importer.regions);
    this.memory = importer.memory;
  }
}

/** Options of one load. */
export type LoadOptions = ApplyOptions & GuestMemoryImporterOptions;

/** A plan, and the guest memory that the caller gave, if any. */
interface Prepared {
  readonly plan: LinuxPlan;
  readonly memory: GuestMemory | undefined;
}

/** Reads a stream of unknown length to its end. */
type Whole = (source: Source) => Promise<Source>;

function* prepare(
  options: LinuxOptions,
  { initrds, ...sources }: Inputs,
  unpacking: Unpacking,
  whole: Whole | undefined,
  close: () => void,
): Reading<Prepared> {
  const file = yield* openKernelFile(sources.kernel, unpacking);
  const { format, decompression } = file;
  // A stream whose header does not tell its length is read to its end.
  const isOpenEnded = whole !== undefined && (yield* isLengthNeeded(file));
  const kernel = isOpenEnded ? yield* loaded(() => whole(file.source)) : file.source;
  const plain: Source[] = [];
  for (const initrd of initrds) {
    if (options.decompressInitrd === true) plain.push(yield* plainInitrd(initrd, unpacking));
    else plain.push(initrd);
  }
  const opened = { ...sources, kernel, initrd: oneInitrd(plain) };
  if (format === "arm64-image") {
    const tree = opened.deviceTree === undefined ? undefined : yield* readTree(opened.deviceTree);
    const described = treeMemory(tree);
    const { layout, memory } = resolveMemory(options.memory, arm64LayoutOfSize(described));
    checkTreeMemory(layout, described);
    const { builder: plan, info } = yield* planArm64(options, layout, opened, tree);
    const architecture = "aarch64";
    return {
      plan: new LinuxPlan(
        { plan, architecture, entryMode: architecture, info, layout, decompression },
        close,
      ),
      memory,
    };
  }
  const { layout, memory } = resolveMemory(options.memory, x86LayoutOfSize);
  // What is none of them is refused by the ELF parser, which says what it is.
  const x86Format = format === "bzImage" || format === "elf32" ? format : "elf64";
  const { builder: plan, ...planned } = yield* planX86(options, layout, opened, x86Format, file.bzImage);
  return { plan: new LinuxPlan({ plan, layout, decompression, ...planned }, close), memory };
}

/** The inputs, opened. */
interface Inputs {
  readonly kernel: Source;
  readonly initrds: readonly Source[];
  readonly deviceTree: Source | undefined;
  readonly acpi: LinuxSources<Source>["acpi"];
}

interface Opened extends Inputs {
  readonly close: () => void;
}

/** Opens the inputs; closes them again if one can't be opened. */
function open(options: LinuxOptions): Opened {
  const closers: OpenSource["close"][] = [];
  const close = (): void => {
    for (const each of closers.splice(0)) each();
  };
  const { spoolLimit } = options;
  const opened = (input: AsyncByteInput, name: string): Source => {
    const { source, close: closeOne } = openSource(input, name, { spoolLimit });
    closers.push(closeOne);
    return source;
  };
  try {
    const { initrd, deviceTree, acpi } = options;
    const inputs: readonly AsyncByteInput[] = Array.isArray(initrd)
      ? initrd
      : initrd === undefined
        ? []
        : [initrd];
    return {
      kernel: opened(options.kernel, "kernel"),
      initrds: inputs.map((input, index) =>
        opened(input, inputs.length === 1 ? "initrd" : `initrd ${index}`),
      ),
      deviceTree: deviceTree === undefined ? undefined : opened(deviceTree, "device tree"),
      acpi:
        acpi === undefined
          ? undefined
          : { rdsp: opened(acpi.rdsp, "acpi.rdsp"), tables: opened(acpi.tables, "acpi.tables") },
      close,
    };
  } catch (cause) {
    close();
    throw cause;
  }
}

/** All archives as one. Throws SOURCE_EMPTY if one is empty. */
function oneInitrd(initrds: readonly Source[]): Source | undefined {
  for (const { name, byteLength } of initrds) {
    if (byteLength === 0) {
      throw new DirectBootError("SOURCE_EMPTY", `${name} has 0 bytes`, {
        cure: "leave the initrd out, or give one with at least one byte",
      });
    }
  }
  const [first, ...others] = initrds;
  return others.length === 0 ? first : concatSources(initrds);
}

/** How many bytes a compressed kernel may have. */
function mostDecompressed({ maxDecompressedSize, memory }: LinuxOptions): number {
  const most =
    maxDecompressedSize === undefined
      ? ramSizeOf(memory)
      : toAddress(maxDecompressedSize, "maxDecompressedSize");
  return most > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(most);
}

/** How compressed input is undone; `gunzip` by the platform where no decoders are asked for. */
function unpackingOf(
  options: LinuxOptions & ApplyOptions,
  gunzip: Unpacking["gunzip"],
  decoders: Decoders | undefined,
): Unpacking {
  const { addresses, decompress, decompressInto, entry, onProgress } = options;
  if (decompress !== undefined && decompress !== "host" && decompress !== "guest") {
    throw new TypeError(`decompress must be "host" or "guest", got ${describeType(decompress)}`);
  }
  if (decompressInto !== undefined && decompressInto !== "memory" && decompressInto !== "buffer") {
    throw new TypeError(`decompressInto must be "memory" or "buffer", got ${describeType(decompressInto)}`);
  }
  return {
    gunzip,
    decoders,
    maximumBytes: mostDecompressed(options),
    // Where it goes is chosen for the bzImage as it is: what is in it has a place of its own.
    decompress: decompress ?? (addresses?.kernel === undefined ? undefined : "guest"),
    entry,
    inPlace: decompressInto !== "buffer",
    onUnpacked:
      onProgress === undefined
        ? undefined
        : (loaded, total = loaded) => onProgress({ phase: "decompress", loaded, total }),
  };
}

function prepareSync(options: LinuxSyncOptions & ApplyOptions): Prepared {
  const { close, ...inputs } = open(options);
  try {
    const maximumBytes = mostDecompressed(options);
    const { decoders } = options;
    const gunzip: Unpacking["gunzip"] =
      decoders === undefined ? (source) => gunzipSourceSync(source, { maximumBytes }) : undefined;
    return runSync(prepare(options, inputs, unpackingOf(options, gunzip, decoders), undefined, close));
  } catch (cause) {
    close();
    throw cause;
  }
}

/** The decoders, if the kernel or the initrds may need them: a file of their own. */
async function decodersFor(
  options: LinuxOptions,
  kernel: Source,
  signal: AbortSignal | undefined,
): Promise<Decoders | undefined> {
  if (options.decoders !== undefined) return options.decoders;
  if (options.decompressInitrd !== true) {
    const format = detectFormat(await runAsync(readHead(kernel, DETECT_BYTES), signal));
    if (format === "elf64" || format === "elf32" || format === "arm64-image") return undefined;
    if (format === "bzImage" && options.decompress === "guest") return undefined;
  }
  try {
    return await import("../decoders/index.js");
  } catch {
    // A page may be offline, a policy may forbid it: then what needs them says so.
    return undefined;
  }
}

async function prepareAsync(
  options: LinuxOptions & ApplyOptions,
  signal: AbortSignal | undefined,
): Promise<Prepared> {
  const { close: closeInputs, kernel, initrds, deviceTree, acpi } = open(options);
  const unpacked: StreamSource[] = [];
  const close = (): void => {
    for (const each of unpacked.splice(0)) each.cancel();
    closeInputs();
  };
  try {
    const { spoolLimit } = options;
    // What the kernel is told of by its length must be there before.
    const whole: Whole = (source) => spoolIfUnknown(source, spoolLimit, signal);
    const known: Source[] = [];
    for (const initrd of initrds) known.push(await whole(initrd));
    const inputs: Inputs = {
      kernel,
      initrds: known,
      deviceTree: deviceTree === undefined ? undefined : await whole(deviceTree),
      acpi:
        acpi === undefined ? undefined : { rdsp: await whole(acpi.rdsp), tables: await whole(acpi.tables) },
    };
    const maximumBytes = mostDecompressed(options);
    const gunzip = (source: Source): Source => {
      const stream = gunzipSource(source, { maximumBytes, spoolLimit });
      unpacked.push(stream);
      return stream;
    };
    const decoders = await decodersFor(options, kernel, signal);
    const unpacking = unpackingOf(options, gunzip, decoders);
    return await runAsync(prepare(options, inputs, unpacking, whole, close), signal);
  } catch (cause) {
    close();
    throw cause;
  }
}

/**
 * Plans a load: reads the kernel's headers, places everything, checks that all of it lies in RAM and that nothing
 * collides. Guest memory is not touched.
 *
 * @throws DirectBootError with the code of what is wrong with the kernel, the placement or the options
 */
export function planLinuxSync(options: LinuxSyncOptions & ApplyOptions): LinuxPlan {
  return prepareSync(options).plan;
}

/**
 * The asynchronous {@link planLinuxSync}, for sources that can't be read synchronously. A plan that reads from a stream
 * can be applied once.
 */
export async function planLinux(
  options: LinuxOptions & ApplyOptions & { readonly signal?: AbortSignal | undefined },
): Promise<LinuxPlan> {
  return (await prepareAsync(options, options.signal)).plan;
}

/** Throws TypeError for a memory beside an importer, which has its own. */
function checkImporterMemory(memory: MemoryInput): void {
  if (typeof memory === "number" || typeof memory === "bigint" || memory instanceof MemoryLayout) return;
  throw new TypeError(
    `with an importer memory must be a number of bytes or a MemoryLayout, got ${describeType(memory)}`,
  );
}

/** What a plan put where, for importers that keep no record of it. */
function plannedRegions(plan: LinuxPlan): ImportedRegion[] {
  return plan.pages.map(({ range, tag, acceptance, dataLength }) => ({ range, tag, acceptance, dataLength }));
}

/**
 * Loads a kernel into guest memory, or hands its pages and registers to an `importer` of the caller's.
 *
 * @param options with `crc32: true` each region of a guest memory has the CRC-32 of its data
 * @returns the memory, the registers to start the CPU with, and what lies where
 * @throws DirectBootError before guest memory is touched; after a source broke midway, every page that had been
 *   written is zero again
 *
 * @example
 * const guest = loadLinuxSync({ kernel: "vmlinuz", commandLine: "console=ttyS0", memory: 256 * 1024 * 1024 });
 * guest.registers.rip; // where to start
 */
export function loadLinuxSync(options: LinuxSyncOptions & ApplyOptions & ImporterOption): LoadedLinux;
export function loadLinuxSync(options: LinuxSyncOptions & LoadOptions): LinuxGuest;
export function loadLinuxSync(
  options: LinuxSyncOptions & LoadOptions & Partial<ImporterOption>,
): LoadedLinux {
  if (options.importer !== undefined) checkImporterMemory(options.memory);
  const { plan, memory } = prepareSync(options);
  try {
    if (options.importer !== undefined) {
      applyPlanSync(plan, options.importer, options);
      return new LoadedLinux(plan, plannedRegions(plan));
    }
    const importer = new GuestMemoryImporter(memory ?? GuestMemory.create(plan.layout), options);
    applyPlanSync(plan, importer, options);
    return new LinuxGuest(importer, plan);
  } finally {
    plan.close();
  }
}

/** The asynchronous {@link loadLinuxSync}; `signal` aborts it. */
export function loadLinux(
  options: LinuxOptions & ApplyOptions & ImporterOption & { readonly signal?: AbortSignal | undefined },
): Promise<LoadedLinux>;
export function loadLinux(
  options: LinuxOptions & LoadOptions & { readonly signal?: AbortSignal | undefined },
): Promise<LinuxGuest>;
export async function loadLinux(
  options: LinuxOptions &
    LoadOptions &
    Partial<ImporterOption> & { readonly signal?: AbortSignal | undefined },
): Promise<LoadedLinux> {
  if (options.importer !== undefined) checkImporterMemory(options.memory);
  const { signal } = options;
  const { plan, memory } = await prepareAsync(options, signal);
  const { onProgress } = options;
  const applyOptions: Parameters<typeof applyPlan>[2] = {
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  };
  try {
    if (options.importer !== undefined) {
      await applyPlan<VpRegister>(plan, options.importer, applyOptions);
      return new LoadedLinux(plan, plannedRegions(plan));
    }
    const importer = new GuestMemoryImporter(memory ?? GuestMemory.create(plan.layout), options);
    await applyPlan(plan, importer, applyOptions);
    return new LinuxGuest(importer, plan);
  } finally {
    plan.close();
  }
}
