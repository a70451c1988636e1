/** Options of loadLinux that only an arm64 guest has. */
import type { Arm64PageSize } from "../images/arm64-image.js";

/** Abilities that not every arm64 machine has (booting.rst, "Call the kernel image"). */
export interface Arm64Allowances {
  /** Kernel page sizes that the guest's CPU has; `["4KiB"]` by default. */
  readonly pageSizes?: readonly Arm64PageSize[] | undefined;
  /** Take kernels that must lie at the start of RAM, and put them there; false by default. */
  readonly lowPlacement?: boolean | undefined;
}

/** Options that only an arm64 guest has. */
export interface Arm64Options {
  /** arm64: kernels that are taken although not every machine can start them. */
  readonly arm64?: Arm64Allowances | undefined;
}
