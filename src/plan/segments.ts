/** Segments of a kernel that share a page: the page becomes literal bytes, the rest of them stays a region of the file. */
import { HV_PAGE_SIZE, hexRange, PAGE_BYTES } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { FileRegion } from "../importers/file-region.js";
import type { VpRegister } from "../importers/importer.js";
import { readBytes } from "../sources/reading.js";
import type { Task } from "../task/task.js";
import type { PlanBuilder } from "./plan.js";

/** Pages that are held in memory for it; linkers make a handful. */
const MOST_SHARED_PAGES = 1024;

const firstPage = ({ gpa }: FileRegion): bigint => gpa / HV_PAGE_SIZE;
const lastPage = ({ gpa, memoryLength }: FileRegion): bigint => (gpa + memoryLength - 1n) / HV_PAGE_SIZE;

/** Pages that two regions or more have bytes in. Throws ELF_SEGMENTS_OVERLAP. */
function sharedPages(sorted: readonly FileRegion[]): Set<bigint> {
  const shared = new Set<bigint>();
  for (const [index, region] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next === undefined) continue;
    const end = region.gpa + region.memoryLength;
    if (end > next.gpa) {
      throw new DirectBootError(
        "ELF_SEGMENTS_OVERLAP",
        `${region.source.name}: the segment at ${hexRange(region.gpa, end)} overlaps the one at ${hexRange(next.gpa, next.gpa + next.memoryLength)}`,
      );
    }
    if (lastPage(region) === firstPage(next)) shared.add(lastPage(region));
    if (shared.size > MOST_SHARED_PAGES) {
      throw new DirectBootError(
        "ELF_SEGMENTS_OVERLAP",
        `${region.source.name}: segments share more than ${MOST_SHARED_PAGES} pages`,
      );
    }
  }
  return shared;
}

/** A region without its first page, its last page, or both. */
function trimmed(region: FileRegion, withoutFirst: boolean, withoutLast: boolean): FileRegion {
  const { gpa, memoryLength, fileOffset, fileLength } = region;
  const start = withoutFirst ? (firstPage(region) + 1n) * HV_PAGE_SIZE : gpa;
  const end = withoutLast ? lastPage(region) * HV_PAGE_SIZE : gpa + memoryLength;
  const length = end > start ? end - start : 0n;
  const cut = start - gpa < fileLength ? start - gpa : fileLength;
  const left = fileLength - cut;
  return {
    ...region,
    gpa: start,
    memoryLength: length,
    fileOffset: fileOffset + cut,
    fileLength: left < length ? left : length,
  };
}

/** Adds regions, none of them empty, that may share pages but no bytes. */
export function* planSegments<R extends VpRegister>(
  builder: PlanBuilder<R>,
  regions: readonly FileRegion[],
): Task<void> {
  const sorted = [...regions].sort((a, b) => (a.gpa < b.gpa ? -1 : a.gpa > b.gpa ? 1 : 0));
  const shared = sharedPages(sorted);
  if (shared.size === 0) {
    for (const region of regions) builder.fileRegion(region);
    return;
  }
  const pages = new Map<bigint, Uint8Array>();
  for (const region of sorted) {
    const [first, last] = [firstPage(region), lastPage(region)];
    for (const page of new Set([first, last])) {
      if (!shared.has(page)) continue;
      const bytes = pages.get(page) ?? new Uint8Array(PAGE_BYTES);
      pages.set(page, bytes);
      const from = page * HV_PAGE_SIZE > region.gpa ? page * HV_PAGE_SIZE : region.gpa;
      const pageEnd = (page + 1n) * HV_PAGE_SIZE;
      const fileEnd = region.gpa + region.fileLength;
      const to = pageEnd < fileEnd ? pageEnd : fileEnd;
      if (to <= from) continue;
      const offset = Number(region.fileOffset + (from - region.gpa));
      bytes.set(yield* readBytes(region.source, offset, Number(to - from)), Number(from % HV_PAGE_SIZE));
    }
    const rest = trimmed(region, shared.has(first), shared.has(last));
    if (rest.memoryLength > 0n) builder.fileRegion(rest);
  }
  const tag = sorted[0]?.tag ?? "";
  for (const [page, bytes] of pages) builder.bytes(page * HV_PAGE_SIZE, tag, bytes);
}
