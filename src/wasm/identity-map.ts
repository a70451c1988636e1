import { DirectBootError } from "../base/errors.js";

/**
 * The parameters of an identity map: numbers only, exact since every address is below 2^52.
 *
 *     PML4 (left out when addressBias is not 0) | PDPT | one page directory a GiB
 */
export interface IdentityMap {
  /** Guest physical address of the first table. */
  readonly tableAddress: number;
  /** Added to every mapped address; a multiple of 2 MiB. */
  readonly addressBias: number;
  /** GiB mapped from virtual address 0: 1 to 512, one page directory each. */
  readonly gibibytes: number;
  /** Or-ed into every present entry (SEV's C-bit as a mask), or 0. */
  readonly encryption: number;
  /** Index of the PML4 entry that links to {@link linkTarget}, or -1. */
  readonly linkIndex: number;
  /** Guest physical address of the linked table. */
  readonly linkTarget: number;
}

/** Bytes of the tables of `map`: a multiple of 4096. */
export function identityMapBytes(map: IdentityMap): number {
  return ((map.addressBias === 0 ? 2 : 1) + map.gibibytes) * 4096;
}

/** Throws PAGE_TABLE_INVALID_ADDRESS unless every number of `map` is one that the hot paths can take. */
export function checkIdentityMap(map: IdentityMap): void {
  const limits: readonly (readonly [keyof IdentityMap, number, number])[] = [
    ["tableAddress", 0, 2 ** 52 - 1],
    ["addressBias", 0, 2 ** 52 - 1],
    ["gibibytes", 1, 512],
    ["encryption", 0, 2 ** 52 - 1],
    ["linkIndex", -1, 511],
    ["linkTarget", 0, 2 ** 52 - 1],
  ];
  for (const [name, lowest, highest] of limits) {
    const value = map[name];
    if (!Number.isInteger(value) || value < lowest || value > highest) {
      throw new DirectBootError(
        "PAGE_TABLE_INVALID_ADDRESS",
        `${name} is ${value}, it must be an integer from ${lowest} to ${highest}`,
      );
    }
  }
}
