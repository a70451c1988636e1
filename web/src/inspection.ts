/** The inspector of the library, as this page uses it: what crosses from the worker is plain data. */
import type { LinuxGuest } from "directboot";
import { type PageTable, type PageTableEntry, pageTableTree } from "directboot/inspect";

/** An entry of a table, or a run of like ones. */
export interface PageTableEntryView extends Omit<PageTableEntry, "children"> {
  readonly child: PageTableView | undefined;
}

/** A table with all tables that it leads to. */
export interface PageTableView extends Omit<PageTable, "entries"> {
  readonly entries: readonly PageTableEntryView[];
}

/** Most tables that are shown: those of a kernel's start are eleven at most. */
const MOST_TABLES = 256;

/** The guest's page tables, unfolded; undefined if paging is off. */
export function pageTablesOf({ memory, registers, architecture }: LinuxGuest): PageTableView | undefined {
  const root = pageTableTree(memory, registers, architecture);
  let tables = 0;
  const viewOf = (table: PageTable): PageTableView => ({
    ...table,
    entries: table.entries.map(({ children, ...entry }) => {
      const child = tables < MOST_TABLES ? children() : undefined;
      if (child !== undefined) tables++;
      return { ...entry, child: child === undefined ? undefined : viewOf(child) };
    }),
  });
  return root === undefined ? undefined : viewOf(root);
}
