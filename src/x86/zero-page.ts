/**
 * The zero page, `struct boot_params`, as OpenVMM builds it (linux.rs, `build_zero_page`). The complete one,
 * for kernels and guests that OpenVMM does not know, is in boot-params.ts.
 */

import { type AddressLike, addAddresses, HV_PAGE_SIZE, hex, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { named, wrongType } from "../base/options.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { commandLineBytes } from "../plan/command-line.js";
import { BOOT_PARAMS_OFFSETS, buildBootParams } from "./boot-params.js";
import { E820_ACPI, E820_MAX_ENTRIES, E820_RAM } from "./e820.js";

const ACPI_BASE = 0xe_0000n;
const ONE_MIB = 0x10_0000n;
const U32_LIMIT = 1n << 32n;

/** A kernel command line and its place. */
export interface CommandLineConfig {
  /** Guest physical address, page-aligned. */
  readonly address: AddressLike;
  /** Text (as UTF-8) or bytes, without the NUL that ends it in memory; no NUL inside. */
  readonly commandLine: string | Uint8Array;
}

/** Parameters of {@link buildZeroPage}. */
export interface ZeroPageOptions {
  /** The layout that the e820 map is built from. */
  readonly memoryLayout: MemoryLayout;
  /** Where the ACPI tables lie: 0xe0000, the only value that OpenVMM knows. */
  readonly acpiBase: AddressLike;
  /** Bytes of all ACPI tables; rounded up to pages. */
  readonly acpiLength: AddressLike;
  /** The command line and its place, below 4 GiB. */
  readonly commandLine: CommandLineConfig;
  /** Guest physical address of the initrd, or 0; below 4 GiB. */
  readonly initrdBase: AddressLike;
  /** Bytes of the initrd; below 4 GiB. */
  readonly initrdSize: AddressLike;
}

/** A value of a field of 32 bits. */
function toU32(
  input: AddressLike,
  name: string,
  code: "ZERO_PAGE_INITRD_TOO_HIGH" | "ZERO_PAGE_COMMAND_LINE_TOO_HIGH",
): bigint {
  const value = toAddress(input, name);
  if (value < U32_LIMIT) return value;
  throw new DirectBootError(code, `${name} is ${hex(value)}, the limit is ${hex(U32_LIMIT - 1n)}`);
}

const isCommandLine = /* @__PURE__ */ named("address", "commandLine");
const checkNames = /* @__PURE__ */ named(
  "memoryLayout",
  "acpiBase",
  "acpiLength",
  "commandLine",
  "initrdBase",
  "initrdSize",
);

/**
 * The 4096 bytes of `struct boot_params` exactly as OpenVMM builds them: RAM below 0xe0000, ACPI from there, RAM
 * up to the end of the first range, then the other RAM ranges. Fields that OpenVMM does not name are zero.
 *
 * @throws DirectBootError ZERO_PAGE_* and COMMAND_LINE_NUL
 *
 * @example
 * ```ts
 * import { MemoryLayout } from "directboot";
 * import { buildZeroPage } from "directboot/loader";
 *
 * const page = buildZeroPage({
 *   memoryLayout: new MemoryLayout(64 * 1024 * 1024),
 *   acpiBase: 0xe_0000,
 *   acpiLength: 0x2000,
 *   commandLine: { address: 0x3000, commandLine: "console=ttyS0" },
 *   initrdBase: 0,
 *   initrdSize: 0,
 * });
 * console.log(page.byteLength, page[0x1e8], "e820 entries"); // 4096 3 e820 entries
 * ```
 */
export function buildZeroPage(options: ZeroPageOptions): Uint8Array {
  checkNames(options, "");
  const { memoryLayout } = options;
  if (!(memoryLayout instanceof MemoryLayout))
    throw wrongType("memoryLayout", "a MemoryLayout", memoryLayout);
  isCommandLine(options.commandLine, "commandLine");
  const text = commandLineBytes(options.commandLine.commandLine);
  const { address } = options.commandLine;
  const commandLineAddress = toU32(address, "commandLine.address", "ZERO_PAGE_COMMAND_LINE_TOO_HIGH");
  const initrdBase = toU32(options.initrdBase, "initrdBase", "ZERO_PAGE_INITRD_TOO_HIGH");
  const initrdSize = toU32(options.initrdSize, "initrdSize", "ZERO_PAGE_INITRD_TOO_HIGH");

  const [first, ...others] = memoryLayout.ram;
  if (first === undefined || first.range.start !== 0n || first.range.end < ONE_MIB) {
    throw new DirectBootError(
      "ZERO_PAGE_BAD_RAM",
      `the first RAM range is ${first?.range ?? "missing"}, it must cover 0x0-${hex(ONE_MIB)}`,
    );
  }
  const acpiBase = toAddress(options.acpiBase, "acpiBase");
  if (acpiBase !== ACPI_BASE) {
    throw new DirectBootError(
      "ZERO_PAGE_BAD_ACPI",
      `acpiBase is ${hex(acpiBase)}, it must be ${hex(ACPI_BASE)}`,
    );
  }
  const acpiLength = toAddress(options.acpiLength, "acpiLength");
  const acpiEnd =
    addAddresses(ACPI_BASE + HV_PAGE_SIZE - 1n, acpiLength, "end of the ACPI tables") & ~(HV_PAGE_SIZE - 1n);
  if (acpiEnd > first.range.end) {
    throw new DirectBootError(
      "ZERO_PAGE_BAD_ACPI",
      `the ACPI tables end at ${hex(acpiEnd)}, behind the first RAM range ${first.range}`,
    );
  }
  const entryCount = 3 + others.length;
  if (entryCount > E820_MAX_ENTRIES) {
    throw new DirectBootError(
      "ZERO_PAGE_TOO_MANY_E820_ENTRIES",
      `${memoryLayout.ram.length} RAM ranges need ${entryCount} e820 entries, the limit is ${E820_MAX_ENTRIES}`,
    );
  }

  const page = buildBootParams({
    e820: [
      { start: 0n, end: ACPI_BASE, type: E820_RAM },
      { start: ACPI_BASE, end: acpiEnd, type: E820_ACPI },
      { start: acpiEnd, end: first.range.end, type: E820_RAM },
      ...others.map(({ range }) => ({ start: range.start, end: range.end, type: E820_RAM })),
    ],
    commandLine: { address: commandLineAddress, byteLength: text.byteLength },
    initrd: { address: initrdBase, byteLength: initrdSize },
  });
  // OpenVMM leaves the protocol's version 0.
  new DataView(page.buffer).setUint16(BOOT_PARAMS_OFFSETS.version, 0, true);
  return page;
}
