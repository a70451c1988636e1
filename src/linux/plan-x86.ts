/**
 * x86-64, by the 64-bit boot protocol. The low-memory map, where the caller does not say otherwise:
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
import { hex, hexRange } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import type { X86Register } from "../importers/importer.js";
import type { LoadInfo } from "../loading/load-info.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { PlanBuilder } from "../plan/plan.js";
import type { Reading } from "../sources/reader.js";
import type { Source } from "../sources/source.js";
import { planConfig, planKernelAndInitrdX64 } from "../x86/linux.js";
import { computeVariableMtrrs } from "../x86/mtrr.js";
import { LOW_MMIO_GAP } from "./memory.js";
import type { LinuxOptions, LinuxSources } from "./options.js";

/** What the page tables map: boot.rst wants the kernel, the zero page and the command line in it. */
const MAPPED_BYTES = 1n << 32n;
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

/** Plans an x86-64 ELF kernel and all that its 64-bit entry needs. */
export function* planX86(
  options: LinuxOptions,
  layout: MemoryLayout,
  { kernel, initrd }: LinuxSources<Source>,
): Reading<{ builder: PlanBuilder<X86Register>; info: LoadInfo }> {
  if (options.deviceTree !== undefined) {
    throw new DirectBootError(
      "OPTION_NOT_FOR_ARCHITECTURE",
      `deviceTree, but ${kernel.name} is not for arm64`,
    );
  }
  const builder = new PlanBuilder<X86Register>();
  const info = yield* planKernelAndInitrdX64(
    builder,
    kernel,
    KERNEL_MINIMUM_START_ADDRESS,
    initrd === undefined ? undefined : { source: initrd, address: options.initrdAddress ?? "AfterKernel" },
  );
  const { gpa, size, entrypoint } = info.kernel;
  if (gpa + size > MAPPED_BYTES || entrypoint < gpa || entrypoint >= gpa + size) {
    throw new DirectBootError(
      "X86_ENTRY_NOT_MAPPED",
      `${kernel.name}: entry ${hex(entrypoint)}, kernel ${hexRange(gpa, gpa + size)}, mapped are 0x0-${hex(MAPPED_BYTES)}`,
    );
  }
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
  return { builder, info };
}
