/** OpenVMM's `import_initrd` (linux.rs). */
import {
  type AddressLike,
  addAddresses,
  alignUpToLargePageSize,
  checkAddressAlignment,
  toAddress,
} from "../base/address.js";
import type { VpRegister } from "../importers/importer.js";
import { type OpenSource, openSource } from "../sources/open.js";
import type { ByteInput, Source } from "../sources/source.js";
import type { InitrdInfo } from "./load-info.js";
import type { PlanBuilder } from "./plan.js";

/** Where an initrd goes: behind the kernel at the next 2 MiB boundary, or at a page-aligned address. */
export type InitrdAddressType = "AfterKernel" | AddressLike;

/** An initrd and its place. */
export interface InitrdConfig {
  /** "AfterKernel" by default. */
  readonly initrdAddress?: InitrdAddressType;
  /** The archive: bytes, a source, or in Node a path. */
  readonly initrd: ByteInput;
}

/** An initrd that was opened. */
export interface OpenInitrd {
  readonly source: Source;
  readonly address: InitrdAddressType;
}

/** Opens the initrd of a configuration, if there is one. */
export function openInitrd(
  config: InitrdConfig | null | undefined,
): { initrd: OpenInitrd; close: OpenSource["close"] } | undefined {
  if (config == null) return undefined;
  const { source, close } = openSource(config.initrd, "initrd");
  return { initrd: { source, address: config.initrdAddress ?? "AfterKernel" }, close };
}

/**
 * Adds an initrd to a plan, in one import.
 *
 * @param nextAddress first address behind the kernel (or the device tree)
 * @throws DirectBootError UNALIGNED_ADDRESS, ADDRESS_OVERFLOW
 */
export function planInitrd<R extends VpRegister>(
  builder: PlanBuilder<R>,
  initrd: OpenInitrd | undefined,
  nextAddress: bigint,
): InitrdInfo | undefined {
  if (initrd === undefined) return undefined;
  const gpa =
    initrd.address === "AfterKernel"
      ? alignUpToLargePageSize(nextAddress)
      : toAddress(initrd.address, "initrdAddress");
  checkAddressAlignment(gpa, "initrd address");
  const size = BigInt(initrd.source.byteLength);
  addAddresses(gpa, size, "end of the initrd");
  builder.wholeSource(gpa, "linux-initrd", initrd.source);
  return { gpa, size };
}
