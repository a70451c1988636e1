/** x86-64 page tables of the first GiBs: `page_table::x64::build_page_tables_64` of OpenVMM. */

import {
  type AddressLike,
  HV_PAGE_SIZE,
  hex,
  LARGE_PAGE_SIZE,
  PAGE_SIZE_1GB,
  PHYSICAL_ADDRESS_LIMIT,
  toAddress,
} from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { named, optional } from "../base/options.js";
import { generate } from "../wasm/hot-paths.js";
import { type IdentityMap, identityMapBytes } from "../wasm/identity-map.js";

/** How much is mapped. */
export type IdentityMapSize = "4GiB" | "8GiB";

const GIBIBYTES: Readonly<Record<IdentityMapSize, number>> = { "4GiB": 4, "8GiB": 8 };
// A PML4 entry covers 512 GiB; addresses below 2^48 have one (Intel SDM, volume 3A, section 4.5).
const PML4E_SHIFT = 39n;
/** 2^48: one past the highest linear address. */
export const LINEAR_ADDRESS_LIMIT = 1n << 48n;

/** Options of {@link buildPageTables64}. */
export interface PageTableOptions {
  /** Guest physical address of the first table, page-aligned. */
  readonly pageTableGpa: AddressLike;
  /** Added to every mapped address, a multiple of 2 MiB; with it the PML4 is left out. 0 by default. */
  readonly addressBias?: AddressLike;
  /** "4GiB" by default. */
  readonly size?: IdentityMapSize;
  /**
   * A PML4 entry that links to a table of the caller's: the entry that covers `linkageGpa` (a multiple of
   * 512 GiB, not 0, below 2^48) points to `linkTargetGpa` (page-aligned). Ignored with a bias, as upstream.
   */
  readonly pml4eLink?: { readonly linkTargetGpa: AddressLike; readonly linkageGpa: AddressLike };
  /** Number of the bit that is or-ed into every present entry (SEV's C-bit): 12 to 51. */
  readonly confidentialBit?: number;
}

function invalid(what: string): DirectBootError {
  return new DirectBootError("PAGE_TABLE_INVALID_ADDRESS", what);
}

/** Throws PAGE_TABLE_INVALID_ADDRESS for tables off a page or past 2^52. */
export function checkTable(address: bigint, bytes: bigint, what: string): void {
  if (address % HV_PAGE_SIZE !== 0n) throw invalid(`${what} ${hex(address)} is not a multiple of 0x1000`);
  if (address + bytes > PHYSICAL_ADDRESS_LIMIT) {
    throw invalid(`${what} ${hex(address)} and ${hex(bytes)} bytes pass ${hex(PHYSICAL_ADDRESS_LIMIT)}`);
  }
}

/**
 * The mask of the confidential bit, or 0 without one.
 *
 * @param highest one past the highest address that an entry holds; it must not reach the bit
 */
export function toEncryptionMask(confidentialBit: number | undefined, highest: bigint): number {
  if (confidentialBit === undefined) return 0;
  if (typeof confidentialBit !== "number") {
    throw new TypeError(`confidentialBit must be a number, got ${describeType(confidentialBit)}`);
  }
  if (!Number.isInteger(confidentialBit) || confidentialBit < 12 || confidentialBit > 51) {
    throw invalid(`the confidential bit ${confidentialBit} is no address bit of an entry (12 to 51)`);
  }
  if (highest > 1n << BigInt(confidentialBit)) {
    throw invalid(`addresses up to ${hex(highest - 1n)} reach the confidential bit ${confidentialBit}`);
  }
  return 2 ** confidentialBit;
}

const checkNames = /* @__PURE__ */ named(
  "pageTableGpa",
  "addressBias",
  "size",
  "pml4eLink",
  "confidentialBit",
);

/** Checks the options and makes them what the kernel takes. */
export function toIdentityMap(options: PageTableOptions): IdentityMap {
  checkNames(options, "");
  const { size = "4GiB", confidentialBit, pml4eLink } = options;
  const gibibytes = typeof size === "string" && Object.hasOwn(GIBIBYTES, size) ? GIBIBYTES[size] : undefined;
  if (gibibytes === undefined)
    throw new TypeError(`size must be "4GiB" or "8GiB", got ${describeType(size)}`);
  const tableAddress = toAddress(options.pageTableGpa, "pageTableGpa");
  const addressBias = toAddress(options.addressBias ?? 0n, "addressBias");
  if (addressBias % LARGE_PAGE_SIZE !== 0n) {
    throw invalid(`address bias ${hex(addressBias)} is not a multiple of ${hex(LARGE_PAGE_SIZE)}`);
  }
  if (addressBias + BigInt(gibibytes) * PAGE_SIZE_1GB > PHYSICAL_ADDRESS_LIMIT) {
    throw invalid(`address bias ${hex(addressBias)} and ${size} pass ${hex(PHYSICAL_ADDRESS_LIMIT)}`);
  }

  let linkIndex = -1;
  optional(named("linkTargetGpa", "linkageGpa"))(pml4eLink, "pml4eLink");
  let linkTarget = 0n;
  if (pml4eLink !== undefined && addressBias === 0n) {
    const linkage = toAddress(pml4eLink.linkageGpa, "linkageGpa");
    linkTarget = toAddress(pml4eLink.linkTargetGpa, "linkTargetGpa");
    checkTable(linkTarget, HV_PAGE_SIZE, "link target");
    if (linkage % (1n << PML4E_SHIFT) !== 0n || linkage >= LINEAR_ADDRESS_LIMIT) {
      throw invalid(`linkage address ${hex(linkage)} is not a multiple of 512 GiB below 2^48`);
    }
    if (linkage === 0n) {
      throw new DirectBootError(
        "PAGE_TABLE_ATTEMPTED_OVERWRITE",
        "linkage address 0x0 would overwrite PML4 entry 0, the identity map",
      );
    }
    linkIndex = Number(linkage >> PML4E_SHIFT);
  }

  const map: IdentityMap = {
    tableAddress: Number(tableAddress),
    addressBias: Number(addressBias),
    gibibytes,
    encryption: 0,
    linkIndex,
    linkTarget: Number(linkTarget),
  };
  const tablesEnd = tableAddress + BigInt(identityMapBytes(map));
  checkTable(tableAddress, BigInt(identityMapBytes(map)), "page table address");
  const highest = [addressBias + BigInt(gibibytes) * PAGE_SIZE_1GB, tablesEnd, linkTarget + 1n].reduce(
    (most, end) => (end > most ? end : most),
  );
  return { ...map, encryption: toEncryptionMask(confidentialBit, highest) };
}

/**
 * Page tables that map `va -> va + addressBias` with 2 MiB pages: PML4 (left out with a bias), PDPT, and a page
 * directory for each GiB, in this order, to be placed at `pageTableGpa`.
 *
 * @returns 24 KiB for "4GiB", 40 KiB for "8GiB"; 4 KiB less with a bias
 * @throws DirectBootError PAGE_TABLE_INVALID_ADDRESS, PAGE_TABLE_ATTEMPTED_OVERWRITE (a link at 0)
 *
 * @example
 * ```ts
 * import { buildPageTables64 } from "directboot/loader";
 *
 * const tables = buildPageTables64({ pageTableGpa: 0x4000, size: "4GiB" });
 * console.log(tables.byteLength); // 24576
 * console.log(new DataView(tables.buffer).getBigUint64(0, true).toString(16)); // 5023
 * ```
 */
export function buildPageTables64(options: PageTableOptions): Uint8Array {
  const map = toIdentityMap(options);
  return generate(identityMapBytes(map), (hotPaths) => hotPaths.identityMap(0, map));
}
