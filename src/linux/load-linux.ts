/** Any kernel, one call: x86-64 ELF kernels (vmlinux) and arm64 Images today. */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { DETECT_BYTES, detectFormat } from "../images/detect.js";
import {
  GuestMemoryImporter,
  type GuestMemoryImporterOptions,
  type ImportedRegion,
} from "../importers/guest-memory-importer.js";
import type { Aarch64Register, VpRegister, X86Register } from "../importers/importer.js";
import type { LoadInfo } from "../loading/load-info.js";
import type { Architecture } from "../loading/static-elf.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { type ApplyOptions, applyPlan, applyPlanSync } from "../plan/apply.js";
import { type OpenSource, openSource } from "../sources/open.js";
import { type Reading, readBytes, runAsync, runSync } from "../sources/reader.js";
import type { ByteInput, Source } from "../sources/source.js";
import { LinuxPlan, registerToJSON } from "./linux-plan.js";
import { arm64LayoutOfSize, resolveMemory, x86LayoutOfSize } from "./memory.js";
import type { LinuxOptions, LinuxSources } from "./options.js";
import { checkTreeMemory, planArm64, readTree, treeMemory } from "./plan-arm64.js";
import { planX86 } from "./plan-x86.js";

/** Values of the registers by name; one that was not set is undefined, and zero in the guest. */
export type RegistersByName = { readonly [R in X86Register | Aarch64Register as R["name"]]?: R["value"] };

/** A guest whose kernel is loaded. `JSON.stringify` gives what was loaded, without the memory, in hex strings. */
export class LinuxGuest {
  readonly architecture: Architecture;
  readonly memory: GuestMemory;
  readonly registers: RegistersByName;
  /** The registers in the order in which they were set. */
  readonly registerList: readonly VpRegister[];
  readonly info: LoadInfo;
  /** What lies where. */
  readonly regions: readonly ImportedRegion[];

  constructor(importer: GuestMemoryImporter, plan: LinuxPlan) {
    this.architecture = plan.architecture;
    this.memory = importer.memory;
    this.registerList = importer.registerList;
    this.registers = Object.fromEntries(this.registerList.map(({ name, value }) => [name, value]));
    this.info = plan.info;
    this.regions = importer.regions;
  }

  toJSON(): unknown {
    return {
      architecture: this.architecture,
      ram: this.memory.layout,
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

/** A plan, and the guest memory that the caller gave, if any. */
interface Prepared {
  readonly plan: LinuxPlan;
  readonly memory: GuestMemory | undefined;
}

function* prepare(
  options: LinuxOptions,
  sources: LinuxSources<Source>,
  close: () => void,
): Reading<Prepared> {
  const { kernel, deviceTree } = sources;
  const head = yield* readBytes(kernel, 0, Math.min(DETECT_BYTES, kernel.byteLength));
  if (detectFormat(head) === "arm64-image") {
    const tree = deviceTree === undefined ? undefined : yield* readTree(deviceTree);
    const described = treeMemory(tree);
    const { layout, memory } = resolveMemory(options.memory, arm64LayoutOfSize(described));
    checkTreeMemory(layout, described);
    const { builder, info } = yield* planArm64(options, layout, sources, tree);
    return { plan: new LinuxPlan("aarch64", builder, info, layout, close), memory };
  }
  // What is neither is refused by the ELF parser, which says what it is.
  const { layout, memory } = resolveMemory(options.memory, x86LayoutOfSize);
  const { builder, info } = yield* planX86(options, layout, sources);
  return { plan: new LinuxPlan("x86_64", builder, info, layout, close), memory };
}

/** Opens the inputs and starts to plan with them; closes them again if that fails. */
function open(options: LinuxOptions): { reading: Reading<Prepared>; close: () => void } {
  const closers: OpenSource["close"][] = [];
  const close = (): void => {
    for (const each of closers.splice(0)) each();
  };
  const opened = (input: ByteInput, name: string): Source => {
    const { source, close: closeOne } = openSource(input, name);
    closers.push(closeOne);
    return source;
  };
  try {
    const kernel = opened(options.kernel, "kernel");
    const initrd = options.initrd === undefined ? undefined : opened(options.initrd, "initrd");
    if (initrd?.byteLength === 0) {
      throw new DirectBootError("SOURCE_EMPTY", `${initrd.name} has 0 bytes`, {
        cure: "leave the initrd out, or give one with at least one byte",
      });
    }
    const deviceTree =
      options.deviceTree === undefined ? undefined : opened(options.deviceTree, "device tree");
    return { reading: prepare(options, { kernel, initrd, deviceTree }, close), close };
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
export function planLinuxSync(options: LinuxOptions): LinuxPlan {
  const { reading, close } = open(options);
  try {
    return runSync(reading).plan;
  } catch (cause) {
    close();
    throw cause;
  }
}

/** The asynchronous {@link planLinuxSync}, for sources that can't be read synchronously. */
export async function planLinux(
  options: LinuxOptions & { readonly signal?: AbortSignal },
): Promise<LinuxPlan> {
  const { reading, close } = open(options);
  try {
    return (await runAsync(reading, options.signal)).plan;
  } catch (cause) {
    close();
    throw cause;
  }
}

/**
 * Loads a kernel into guest memory.
 *
 * @param options with `crc32: true` each region has the CRC-32 of its data
 * @returns the memory, the registers to start the CPU with, and what lies where
 * @throws DirectBootError before guest memory is touched; after a source broke midway, every page that had been
 *   written is zero again
 *
 * @example
 * const guest = loadLinuxSync({ kernel: "vmlinux", commandLine: "console=ttyS0", memory: 256 * 1024 * 1024 });
 * guest.registers.rip; // where to start
 */
export function loadLinuxSync(options: LinuxOptions & ApplyOptions & GuestMemoryImporterOptions): LinuxGuest {
  const { reading, close } = open(options);
  try {
    const { plan, memory } = runSync(reading);
    const importer = new GuestMemoryImporter(memory ?? GuestMemory.create(plan.layout), options);
    applyPlanSync(plan, importer, options);
    return new LinuxGuest(importer, plan);
  } finally {
    close();
  }
}

/** The asynchronous {@link loadLinuxSync}; `signal` aborts it. */
export async function loadLinux(
  options: LinuxOptions & ApplyOptions & GuestMemoryImporterOptions & { readonly signal?: AbortSignal },
): Promise<LinuxGuest> {
  const { reading, close } = open(options);
  try {
    const { plan, memory } = await runAsync(reading, options.signal);
    const importer = new GuestMemoryImporter(memory ?? GuestMemory.create(plan.layout), options);
    await applyPlan(plan, importer, options);
    return new LinuxGuest(importer, plan);
  } finally {
    close();
  }
}
