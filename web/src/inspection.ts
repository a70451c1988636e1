/** The inspector of the library, as this page uses it: what crosses from the worker is plain data. */
import type { LinuxGuest } from "directboot";
import { type MappedPages, type PageTable, pageTableTree } from "directboot/inspect";

/** An entry of a table, or a run of like ones. */
export interface PageTableEntryView {
  readonly index: number;
  readonly count: number;
  readonly raw: bigint;
  readonly present: boolean;
  readonly flags: readonly string[];
  readonly maps: MappedPages | undefined;
  readonly table: bigint | undefined;
  readonly problem: string | undefined;
  readonly child: PageTableView | undefined;
}

/** A table with all that it leads to. */
export interface PageTableView {
  readonly address: bigint;
  readonly name: string;
  readonly entrySpan: bigint;
  readonly entryCount: number;
  readonly entries: readonly PageTableEntryView[];
}

/** Most tables that are shown: those of a kernel's start are eleven at most. */
const MOST_TABLES = 256;

/** The guest's page tables, unfolded; undefined if paging is off. */
export function pageTablesOf({ memory, registers, architecture }: LinuxGuest): PageTableView | undefined {
  const root = pageTableTree(memory, registers, architecture);
  let tables = 0;
  const viewOf = (table: PageTable): PageTableView => ({
    address: table.address,
    name: table.name,
    entrySpan: table.entrySpan,
    entryCount: table.entryCount,
    entries: table.entries.map((entry) => {
      const child = tables < MOST_TABLES ? entry.children() : undefined;
      if (child !== undefined) tables++;
      return {
        index: entry.index,
        count: entry.count,
        raw: entry.raw,
        present: entry.present,
        flags: entry.flags,
        maps:
          entry.maps === undefined
            ? undefined
            : {
                virtualStart: entry.maps.virtualStart,
                virtualEnd: entry.maps.virtualEnd,
                physical: entry.maps.physical,
                pageSize: entry.maps.pageSize,
              },
        table: entry.table,
        problem: entry.problem,
        child: child === undefined ? undefined : viewOf(child),
      };
    }),
  });
  return root === undefined ? undefined : viewOf(root);
}
