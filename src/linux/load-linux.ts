/**
 * Any kernel, one call. Today: x86-64 ELF kernels (vmlinux) by the 64-bit boot protocol.
 *
 * The low-memory map, where the caller does not say otherwise:
 *
 *     0x00000000 ┌──────────────────────────────┐
 *                │ free (real-mode vectors)     │
 *     0x00001000 ├──────────────────────────────┤
 *                │ GDT                          │ default-gdt
 *     0x00002000 ├──────────────────────────────┤
 *                │ zero page (boot_params)      │ linux-zeropage
 *     0x00003000 ├──────────────────────────────┤
 *                │ command line                 │ linux-commandline
 *     0x00004000 ├──────────────────────────────┤
 *                │ page tables, 4 GiB mapped    │ linux-pagetables
 *     0x0000a000 ├──────────────────────────────┤
 *                │ free                         │
 *     0x000e0000 ├──────────────────────────────┤
 *                │ RSDP                         │ linux-rdsp
 *     0x000e1000 ├──────────────────────────────┤
 *                │ ACPI tables                  │ linux-acpi-tables
 *                ├──────────────────────────────┤
 *                │ free                         │
 *     0x00100000 ├──────────────────────────────┤ the kernel may not lie below
 *                │ kernel, where it is linked   │ linux-kernel
 *                ├──────────────────────────────┤ next 2 MiB boundary
 *                │ initrd                       │ linux-initrd
 *                └──────────────────────────────┘
 */
import { type AddressLike, describeType, hex, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { GuestMemoryImporter, type ImportedRegion } from "../importers/guest-memory-importer.js";
import type { X86Register } from "../importers/importer.js";
import type { InitrdAddressType } from "../loading/initrd.js";
import type { LoadInfo } from "../loading/load-info.js";
import { type GuestBuffer, GuestMemory, type MemoryBankInput } from "../memory/guest-memory.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { type ApplyOptions, applyPlan, applyPlanSync } from "../plan/apply.js";
import { OverlapCheck, rangeOf } from "../plan/check.js";
import { type LoadPlan, PlanBuilder, type PlanStep } from "../plan/plan.js";
import { openSource } from "../sources/open.js";
import { type Reading, runAsync, runSync } from "../sources/reader.js";
import type { ByteInput, Source } from "../sources/source.js";
import { planConfig, planKernelAndInitrdX64 } from "../x86/linux.js";
import { computeVariableMtrrs } from "../x86/mtrr.js";

const GIB = 1n << 30n;
/** QEMU's microvm and pc split RAM here; 3-4 GiB is for devices. */
const LOW_MMIO_GAP = new MemoryRange(3n * GIB, 4n * GIB);

const GDT_ADDRESS = 0x1000n;
const ZERO_PAGE_ADDRESS = 0x2000n;
const COMMAND_LINE_ADDRESS = 0x3000n;
const PAGE_TABLE_ADDRESS = 0x4000n;
/** Where the BIOS area starts that Linux searches for the RSDP (ACPI specification, 5.2.5.1). */
const RSDP_ADDRESS = 0xe_0000n;
const ACPI_TABLES_ADDRESS = 0xe_1000n;
/** End of low memory and of the BIOS area. */
const KERNEL_MINIMUM_START_ADDRESS = 0x10_0000n;
/** Physical address bits of QEMU's CPU models under emulation (its default, phys-bits=40). */
const PHYSICAL_ADDRESS_WIDTH = 40;

/** A guest's memory: bytes of RAM, a layout, a memory made before, or a buffer of the caller's. */
export type MemoryInput =
  | AddressLike
  | MemoryLayout
  | GuestMemory
  | GuestBuffer
  | { readonly buffer: GuestBuffer; readonly banks: readonly MemoryBankInput[] };

/** Options of {@link planLinux} and {@link loadLinux}. */
export interface LinuxOptions {
  /** An x86-64 ELF (vmlinux): bytes, a source, or in Node a path. */
  readonly kernel: ByteInput;
  readonly initrd?: ByteInput | undefined;
  /** "AfterKernel" (the next 2 MiB boundary) by default, or a page-aligned address. */
  readonly initrdAddress?: InitrdAddressType | undefined;
  /** Text (UTF-8) or bytes, without NUL; empty by default. */
  readonly commandLine?: string | Uint8Array | undefined;
  /**
   * RAM: a number of bytes (up to 3 GiB is one range; more is [0, 3 GiB) and [4 GiB, …)), a layout, a guest
   * memory, or a buffer.
   */
  readonly memory: MemoryInput;
  /** RSDP and tables; zero pages by default: Linux then finds no ACPI and uses the PIC. */
  readonly acpi?: { readonly rdsp: Uint8Array; readonly tables: Uint8Array } | undefined;
  /** "variable" (default) sets the variable MTRRs for the layout, too; "fixed-only" sets what the seeds set. */
  readonly mtrrs?: "variable" | "fixed-only" | undefined;
  /** Physical address bits of the guest's CPU, for the MTRR masks; 40 by default. */
  readonly physicalAddressWidth?: number | undefined;
}

/** A load as data, and the sources that it reads from. Apply it as often as you like; then close it. */
export class LinuxPlan implements LoadPlan<X86Register> {
  readonly architecture = "x86_64";
  readonly entryMode = "long64";
  readonly steps: readonly PlanStep<X86Register>[];
  readonly sources: readonly Source[];
  /** Where kernel and initrd will lie. */
  readonly info: LoadInfo;
  /** The RAM that the plan was made for. */
  readonly layout: MemoryLayout;
  readonly #close: () => void;

  constructor(plan: LoadPlan<X86Register>, info: LoadInfo, layout: MemoryLayout, close: () => void) {
    this.steps = plan.steps;
    this.sources = plan.sources;
    this.info = info;
    this.layout = layout;
    this.#close = close;
  }

  /** The pages of the plan, in the order of their import. */
  get pages(): { readonly range: MemoryRange; readonly tag: string }[] {
    return this.steps.flatMap((step) =>
      step.kind === "pages" ? [{ range: rangeOf(step), tag: step.tag }] : [],
    );
  }

  /** The registers, in the order of their import. */
  get registers(): X86Register[] {
    return this.steps.flatMap((step) => (step.kind === "register" ? [step.register] : []));
  }

  /** Closes the files that the plan opened. A plan of bytes and sources of the caller's needs no closing. */
  close(): void {
    this.#close();
  }

  toJSON(): unknown {
    return {
      architecture: this.architecture,
      entryMode: this.entryMode,
      ram: this.layout,
      sources: this.sources.map(({ name, byteLength }) => ({ name, byteLength: hex(byteLength) })),
      steps: this.steps.map((step) =>
        step.kind === "register"
          ? { kind: step.kind, name: step.register.name, value: registerToJSON(step.register) }
          : {
              kind: step.kind,
              tag: step.tag,
              gpa: hex(step.pageBase * 4096n),
              length: hex(BigInt(step.pageCount) * 4096n),
              acceptance: step.acceptance,
              data:
                step.data.kind === "source"
                  ? {
                      kind: "source",
                      source: step.data.source,
                      offset: hex(step.data.offset),
                      length: hex(step.data.length),
                      leadingBytes: hex(step.data.leadingBytes),
                    }
                  : step.data.kind === "bytes"
                    ? { kind: "bytes", length: hex(step.data.bytes.byteLength) }
                    : { kind: "identity-map", gibibytes: step.data.map.gibibytes },
            },
      ),
      info: this.info,
    };
  }
}

/** A register's value with hex strings in place of numbers, as in an export's manifest. */
export function registerToJSON({ value }: X86Register): string | Record<string, string> {
  if (typeof value === "bigint") return hex(value);
  return Object.fromEntries(
    Object.entries(value).map(([field, number]: [string, number | bigint]) => [field, hex(number)]),
  );
}

/** Values of the registers by name; one that was not set is undefined, and zero in the guest. */
export type RegistersByName = { readonly [R in X86Register as R["name"]]?: R["value"] };

/** A guest whose kernel is loaded. */
export interface LinuxGuest {
  readonly memory: GuestMemory;
  readonly registers: RegistersByName;
  /** The registers in the order in which they were set. */
  readonly registerList: readonly X86Register[];
  readonly info: LoadInfo;
  /** What lies where. */
  readonly regions: readonly ImportedRegion[];
}

/** The RAM that the caller means: its layout, and the memory if there is one yet. */
function resolveMemory(memory: MemoryInput): { layout: MemoryLayout; memory: GuestMemory | undefined } {
  if (typeof memory === "number" || typeof memory === "bigint") {
    const size = toAddress(memory, "memory");
    const gaps = size > LOW_MMIO_GAP.start ? [LOW_MMIO_GAP] : [];
    return { layout: new MemoryLayout(size, gaps), memory: undefined };
  }
  if (memory instanceof MemoryLayout) return { layout: memory, memory: undefined };
  if (typeof memory !== "object" || memory === null) {
    throw new TypeError(
      `memory must be a number of bytes, a MemoryLayout, a GuestMemory or a buffer, got ${describeType(memory)}`,
    );
  }
  const guest =
    memory instanceof GuestMemory
      ? memory
      : "banks" in memory
        ? GuestMemory.attach(memory.buffer, memory.banks)
        : GuestMemory.attach(memory);
  return { layout: guest.layout, memory: guest };
}

function* planWith(
  options: LinuxOptions,
  layout: MemoryLayout,
  kernel: Source,
  initrd: Source | undefined,
  close: () => void,
): Reading<LinuxPlan> {
  const builder = new PlanBuilder<X86Register>();
  const info = yield* planKernelAndInitrdX64(
    builder,
    kernel,
    KERNEL_MINIMUM_START_ADDRESS,
    initrd === undefined ? undefined : { source: initrd, address: options.initrdAddress ?? "AfterKernel" },
  );
  const rdsp = options.acpi?.rdsp ?? new Uint8Array(0);
  const tables = options.acpi?.tables ?? new Uint8Array(4096);
  planConfig(builder, info, {
    commandLine: { address: COMMAND_LINE_ADDRESS, commandLine: options.commandLine ?? "" },
    zeroPage: {
      address: ZERO_PAGE_ADDRESS,
      memoryLayout: layout,
      acpiBaseAddress: RSDP_ADDRESS,
      acpiLength: ACPI_TABLES_ADDRESS - RSDP_ADDRESS + BigInt(tables.byteLength),
    },
    acpi: { rdspAddress: RSDP_ADDRESS, rdsp, tablesAddress: ACPI_TABLES_ADDRESS, tables },
    registers: { gdtAddress: GDT_ADDRESS, pageTableAddress: PAGE_TABLE_ADDRESS },
  });
  const { mtrrs = "variable", physicalAddressWidth = PHYSICAL_ADDRESS_WIDTH } = options;
  if (mtrrs === "variable") {
    const registers = computeVariableMtrrs(layout, physicalAddressWidth, LOW_MMIO_GAP, MemoryRange.EMPTY);
    for (const register of registers) builder.register(register);
  } else if (mtrrs !== "fixed-only") {
    throw new TypeError(`mtrrs must be "variable" or "fixed-only", got ${describeType(mtrrs)}`);
  }

  const overlaps = new OverlapCheck();
  for (const step of builder.steps) {
    if (step.kind !== "pages") continue;
    overlaps.add(step);
    layout.checkIsRam(rangeOf(step), step.tag);
  }
  return new LinuxPlan(builder, info, layout, close);
}

/** Opens the inputs and plans with them; closes them again if planning fails. */
function preparePlan(
  options: LinuxOptions,
  layout: MemoryLayout,
): { reading: Reading<LinuxPlan>; close: () => void } {
  const kernel = openSource(options.kernel, "kernel");
  const closers = [kernel.close];
  const close = (): void => {
    for (const each of closers.splice(0)) each();
  };
  try {
    const initrd = options.initrd === undefined ? undefined : openSource(options.initrd, "initrd");
    if (initrd !== undefined) {
      closers.push(initrd.close);
      if (initrd.source.byteLength === 0) {
        throw new DirectBootError("SOURCE_EMPTY", `${initrd.source.name} has 0 bytes`, {
          cure: "leave the initrd out, or give one with at least one byte",
        });
      }
    }
    return { reading: planWith(options, layout, kernel.source, initrd?.source, close), close };
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
  const { layout } = resolveMemory(options.memory);
  const { reading, close } = preparePlan(options, layout);
  try {
    return runSync(reading);
  } catch (cause) {
    close();
    throw cause;
  }
}

/** The asynchronous {@link planLinuxSync}, for sources that can't be read synchronously. */
export async function planLinux(
  options: LinuxOptions & { readonly signal?: AbortSignal },
): Promise<LinuxPlan> {
  const { layout } = resolveMemory(options.memory);
  const { reading, close } = preparePlan(options, layout);
  try {
    return await runAsync(reading, options.signal);
  } catch (cause) {
    close();
    throw cause;
  }
}

function guestOf(importer: GuestMemoryImporter<X86Register>, info: LoadInfo): LinuxGuest {
  const { memory, registerList, regions } = importer;
  const registers: RegistersByName = Object.fromEntries(registerList.map(({ name, value }) => [name, value]));
  return { memory, registers, registerList, info, regions };
}

/**
 * Loads a kernel into guest memory.
 *
 * @returns the memory, the registers to start the CPU with, and what lies where
 * @throws DirectBootError before guest memory is touched; after a source broke midway, every page that had been
 *   written is zero again
 *
 * @example
 * const guest = loadLinuxSync({ kernel: "vmlinux", commandLine: "console=ttyS0", memory: 256 * 1024 * 1024 });
 * guest.registers.rip; // where to start
 */
export function loadLinuxSync(options: LinuxOptions & ApplyOptions): LinuxGuest {
  const { layout, memory } = resolveMemory(options.memory);
  const { reading, close } = preparePlan(options, layout);
  try {
    const plan = runSync(reading);
    const importer = new GuestMemoryImporter<X86Register>(memory ?? GuestMemory.create(layout));
    applyPlanSync(plan, importer, options);
    return guestOf(importer, plan.info);
  } finally {
    close();
  }
}

/** The asynchronous {@link loadLinuxSync}; `signal` aborts it. */
export async function loadLinux(
  options: LinuxOptions & ApplyOptions & { readonly signal?: AbortSignal },
): Promise<LinuxGuest> {
  const { layout, memory } = resolveMemory(options.memory);
  const { reading, close } = preparePlan(options, layout);
  try {
    const plan = await runAsync(reading, options.signal);
    const importer = new GuestMemoryImporter<X86Register>(memory ?? GuestMemory.create(layout));
    await applyPlan(plan, importer, options);
    return guestOf(importer, plan.info);
  } finally {
    close();
  }
}
