/**
 * What the page table kernel is told: numbers only, exact since every address is below 2^52.
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
