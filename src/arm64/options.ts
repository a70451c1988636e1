/** Options of loadLinux that only an arm64 guest has. */

/** Abilities that not every arm64 machine has (booting.rst, "Call the kernel image"). */
export interface Arm64Allowances {
  /** Kernel page sizes that the guest's CPU has; `["4KiB"]` by default. "unspecified" is what kernels before 4.6 say. */
  readonly pageSizes?: readonly ("unspecified" | "4KiB" | "16KiB" | "64KiB")[] | undefined;
  /** Take kernels that must lie at the start of RAM, and put them there; false by default. */
  readonly lowPlacement?: boolean | undefined;
}

/** Options that only an arm64 guest has. */
export interface Arm64Options {
  /** arm64: kernels that are taken although not every machine can start them. */
  readonly arm64?: Arm64Allowances | undefined;
}
