/** The inspector of the library, as this page uses it: what crosses from the worker is plain data. */
import type { LinuxGuest, LinuxPlan } from "directboot";
import {
  describeGdt,
  describeStartInfo,
  describeZeroPage,
  type GdtEntry,
  type InspectedSegment,
  inspectKernel,
  type KernelInspection,
  type PageTable,
  type PageTableEntry,
  pageTableTree,
} from "directboot/inspect";
import type { RegionSegment, ToldView } from "./protocol.js";

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

const ZERO_PAGE_BYTES = 4096;
const KERNEL_TAG = "linux-kernel";

/** The kernel that the host unpacked out of a bzImage: the plan holds it. undefined of any other kernel. */
export async function unpackedKernel(
  plan: LinuxPlan,
  { format }: KernelInspection,
): Promise<KernelInspection | undefined> {
  if (format !== "bzImage" || plan.decompression?.by !== "host") return undefined;
  for (const step of plan.steps) {
    if (step.kind !== "pages" || step.tag !== KERNEL_TAG || step.data.kind !== "source") continue;
    const source = plan.sources[step.data.source];
    if (source !== undefined) return await inspectKernel(source, { unpack: "none" });
  }
  return undefined;
}

/** What may be done with a segment says what it is. Linux links per-CPU data at the virtual address 0. */
function nameOf({ flags, virtualAddress }: InspectedSegment): string {
  const [, canWrite, canRun] = flags;
  if (canRun === "X") return canWrite === "W" ? "code and data" : "code";
  if (canWrite !== "W") return "read-only data";
  return virtualAddress === "0x0" ? "per-CPU data" : "data";
}

/** How far from its physical addresses the kernel is loaded, by the first of its bytes that come from a segment. */
function biasOf(plan: LinuxPlan, segments: readonly InspectedSegment[]): bigint | undefined {
  for (const step of plan.steps) {
    if (step.kind !== "pages" || step.tag !== KERNEL_TAG || step.data.kind !== "source") continue;
    const { offset, leadingBytes } = step.data;
    const own = segments.find(
      (each) => each.type === "LOAD" && offset >= each.offset && offset < each.offset + each.fileSize,
    );
    if (own === undefined) continue;
    const physical = BigInt(own.physicalAddress) + BigInt(offset - own.offset);
    return step.pageBase * 4096n + BigInt(leadingBytes) - physical;
  }
  return undefined;
}

/** Tells of a range of the kernel's pages which segments lie in it. */
export function segmentFinder(
  plan: LinuxPlan,
  segments: readonly InspectedSegment[],
): (start: bigint, end: bigint) => RegionSegment[] {
  const bias = biasOf(plan, segments);
  if (bias === undefined) return () => [];
  return (start, end) =>
    segments.flatMap((segment, index) => {
      const { type, flags, virtualAddress, physicalAddress, memorySize } = segment;
      const from = BigInt(physicalAddress) + bias;
      const isInside = type === "LOAD" && from < end && from + BigInt(memorySize) > start;
      return isInside ? [{ index, name: nameOf(segment), flags, virtualAddress }] : [];
    });
}

/** The zero page or start info that lies in the guest's memory; undefined where there is none. */
export function toldOf({ memory, regions }: LinuxGuest): ToldView | undefined {
  for (const { tag, range, dataLength } of regions) {
    const { start } = range;
    if (tag === "linux-zeropage") {
      const fields = describeZeroPage(memory.read(start, ZERO_PAGE_BYTES));
      return { kind: "zero page", address: start, fields };
    }
    if (tag === "linux-start-info") {
      const fields = describeStartInfo(memory.read(start, dataLength), start);
      return { kind: "start info", address: start, fields };
    }
  }
  return undefined;
}

/** The entries of the GDT that the guest starts with; none of an arm64 guest. */
export function gdtOf(guest: LinuxGuest): GdtEntry[] {
  if (guest.architecture === "aarch64") return [];
  const { base, limit } = guest.registers.gdtr;
  return describeGdt(guest.memory.read(base, limit + 1));
}
