/** Page tables of the 64-bit entry: they map the first 4 GiB, and more where the kernel or its parameters lie higher. */
import { alignUpTo1GbPageSize, hex, PAGE_BYTES } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { X86Register } from "../importers/importer.js";
import type { PlanBuilder } from "../plan/plan.js";
import { FOUR_GIB } from "./low-memory-map.js";
import { toIdentityMap } from "./page-table.js";
import { PageTableBuilder } from "./page-table-builder.js";

export const TABLES_TAG = "linux-pagetables";

/** 64 TiB: one past the highest address that tables are made for. */
const MOST_MAPPED = 0x4000_0000_0000n;

/** 2 MiB pages: not every CPU has larger ones. */
function highTables(pageTableGpa: bigint, end: bigint): PageTableBuilder {
  const ranges = [{ start: 0n, end: alignUpTo1GbPageSize(end) }];
  return new PageTableBuilder({ pageTableGpa, ranges, largestPage: "2MiB" });
}

/** Bytes of the tables that map the first 4 GiB and all below `end`. Throws X86_ENTRY_NOT_MAPPED above 64 TiB. */
export function entryTablesBytes(end: bigint): bigint {
  if (end <= FOUR_GIB) return BigInt(6 * PAGE_BYTES);
  if (end > MOST_MAPPED) {
    throw new DirectBootError(
      "X86_ENTRY_NOT_MAPPED",
      `what the kernel must see ends at ${hex(end)}, page tables are made up to ${hex(MOST_MAPPED)}`,
    );
  }
  return BigInt(highTables(0n, end).byteLength);
}

/** Adds tables at `address` that map the first 4 GiB and all below `end`. */
export function planEntryTables(builder: PlanBuilder<X86Register>, address: bigint, end: bigint): void {
  if (end <= FOUR_GIB) builder.identityMap(TABLES_TAG, toIdentityMap({ pageTableGpa: address }));
  else builder.bytes(address, TABLES_TAG, highTables(address, end).build());
}
