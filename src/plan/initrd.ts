/** OpenVMM's `import_initrd` (linux.rs). */

import { type AddressLike, addAddresses, alignUpToLargePageSize, toPageAddress } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { type Check, named } from "../base/options.js";
import type { VpRegister } from "../importers/importer.js";
import type { ByteInput, Source } from "../sources/source.js";
import type { InitrdInfo } from "./load-info.js";
import type { PlanBuilder } from "./plan.js";

/** Where an initrd goes: behind the kernel at the next 2 MiB boundary, or at a page-aligned address. */
export type InitrdAddressType = "AfterKernel" | AddressLike;

/** An initrd and its place. */
export interface InitrdConfig<Input = ByteInput> {
  /** "AfterKernel" by default. */
  readonly initrdAddress?: InitrdAddressType;
  /** The archive: bytes, a source, or in Node a path. */
  readonly initrd: Input;
}

/** The option `initrd` of OpenVMM's functions: null, undefined, or {@link InitrdConfig}. */
export const checkInitrdConfig: Check = (value, path) => {
  if (value != null) named("initrd", "initrdAddress")(value, path);
};

/** Throws TypeError for a string: the one that there is has another case. */
function checkedAddress(address: AddressLike): AddressLike {
  if (typeof address !== "string") return address;
  throw new TypeError(`initrdAddress must be "AfterKernel" or an address, got ${describeType(address)}`);
}

/**
 * Adds an initrd to a plan, in one import.
 *
 * @param address page-aligned, or "AfterKernel", the default
 * @param nextAddress first address behind the kernel (or the device tree)
 * @throws DirectBootError UNALIGNED_ADDRESS, ADDRESS_OVERFLOW
 */
export function planInitrd<R extends VpRegister>(
  builder: PlanBuilder<R>,
  source: Source | null | undefined,
  address: InitrdAddressType | undefined,
  nextAddress: bigint,
): InitrdInfo | undefined {
  if (source == null) return undefined;
  const gpa =
    address === undefined || address === "AfterKernel"
      ? alignUpToLargePageSize(nextAddress)
      : toPageAddress(checkedAddress(address), "initrdAddress");
  const size = BigInt(source.byteLength);
  addAddresses(gpa, size, "end of the initrd");
  builder.wholeSource(gpa, "linux-initrd", source);
  return { gpa, size };
}
