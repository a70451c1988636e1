/** Variable MTRRs: OpenVMM's `compute_variable_mtrrs` and `mtrr_mask` (common.rs). */
import { type AddressLike, hex, toAddress, toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import type { X86Register } from "../importers/importer.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange, type MemoryRangeInput } from "../memory/memory-range.js";

const WRITEBACK = 0x6n; // Intel SDM, volume 3A, table 12-8
const ENABLED = 1n << 11n; // IA32_MTRR_PHYSMASKn.V; SDM 3A, figure 12-7
// OpenVMM's PCAT firmware covers the first 128 MiB by the first pair; its loader mimics it.
const FIRST_PAIR_BYTES = 128n * 1024n * 1024n;
// 8 TiB: older Linux kernels (RHEL 6) fail on one pair across it.
const SPLIT_BIT = 43;
const LOWEST_WIDTH = 36;
const HIGHEST_WIDTH = 52;

/**
 * The mask register for a range that ends at `maximumAddress`: all bits from 12 to the width, less the span of
 * low bits that the address reaches; bit 11 (valid) set.
 *
 * @param gpaSpaceSize physical address width in bits, 36 to 52
 * @param maximumAddress the last address covered
 */
export function mtrrMask(gpaSpaceSize: number, maximumAddress: AddressLike): bigint {
  const width = BigInt(toLength(gpaSpaceSize, "gpaSpaceSize"));
  const last = toAddress(maximumAddress, "maximumAddress");
  let mask = ENABLED;
  for (let bit = 12n; bit < width && bit < 64n; bit++) {
    if (last < 1n << bit) mask |= 1n << bit;
  }
  return mask;
}

/**
 * The variable MTRR pairs that describe a memory layout with two MMIO gaps, one below and one above 4 GiB.
 *
 * @param memory the layout
 * @param physicalAddressWidth bits; clamped to 36-52
 * @param lowMmioGap the gap below 4 GiB; must not start at 0 when there is RAM above 128 MiB
 * @param highMmioGap the gap above 4 GiB, or an empty range
 * @returns one to five pairs of base and mask registers
 * @throws DirectBootError MTRR_BAD_LOW_GAP
 *
 * @example
 * ```ts
 * import { MemoryLayout, MemoryRange } from "directboot";
 * import { computeVariableMtrrs } from "directboot/loader";
 *
 * const layout = new MemoryLayout(256 * 1024 * 1024);
 * const gap = new MemoryRange(3n << 30n, 4n << 30n);
 * const registers = computeVariableMtrrs(layout, 40, gap, MemoryRange.EMPTY);
 * console.log(registers.map(({ name }) => name).join(" ")); // mtrrPhysBase0 mtrrPhysMask0 mtrrPhysBase1 mtrrPhysMask1
 * ```
 */
export function computeVariableMtrrs(
  memory: MemoryLayout,
  physicalAddressWidth: number,
  lowMmioGap: MemoryRangeInput,
  highMmioGap: MemoryRangeInput,
): X86Register[] {
  if (!(memory instanceof MemoryLayout)) {
    throw new TypeError(`memory must be a MemoryLayout, got ${describeType(memory)}`);
  }
  if (!Number.isInteger(physicalAddressWidth)) {
    throw new TypeError(`physicalAddressWidth must be an integer, got ${describeType(physicalAddressWidth)}`);
  }
  const lowMmio = MemoryRange.of(lowMmioGap, "lowMmioGap");
  const highMmio = MemoryRange.of(highMmioGap, "highMmioGap");
  const width = Math.min(Math.max(physicalAddressWidth, LOWEST_WIDTH), HIGHEST_WIDTH);
  const endOfRam = memory.endOfRam;
  const registers: X86Register[] = [];
  const pair = (index: 0 | 1 | 2 | 3 | 4, base: bigint, lastAddress: bigint): void => {
    registers.push({ name: `mtrrPhysBase${index}`, value: base | WRITEBACK });
    registers.push({ name: `mtrrPhysMask${index}`, value: mtrrMask(width, lastAddress) });
  };
  const split = 1n << BigInt(SPLIT_BIT);
  const belowSplit = 1n << BigInt(Math.min(width, SPLIT_BIT));

  pair(0, 0n, FIRST_PAIR_BYTES - 1n);
  if (endOfRam > FIRST_PAIR_BYTES) {
    // Upstream subtracts 1 from the gap's start and wraps.
    if (lowMmio.isEmpty || lowMmio.start === 0n) {
      throw new DirectBootError(
        "MTRR_BAD_LOW_GAP",
        `the low MMIO gap is ${lowMmio}, with RAM up to ${hex(endOfRam)}`,
      );
    }
    pair(1, FIRST_PAIR_BYTES, lowMmio.start - 1n);
  }
  if (endOfRam > lowMmio.end) {
    if (highMmio.isEmpty) {
      // No high gap: cover up to the end of RAM only, so that what lies above stays uncached.
      pair(2, lowMmio.end, (belowSplit < endOfRam ? belowSplit : endOfRam) - 1n);
      if (endOfRam > split) pair(3, split, endOfRam - 1n);
    } else {
      pair(2, lowMmio.end, highMmio.start - 1n);
    }
  }
  if (!highMmio.isEmpty && endOfRam > highMmio.end) {
    pair(3, highMmio.end, belowSplit - 1n);
    if (width > SPLIT_BIT) pair(4, split, (1n << BigInt(width)) - 1n);
  }
  return registers;
}
