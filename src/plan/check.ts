/** What can be said against a plan before anything is imported: its steps collide, or don't lie in RAM. */
import { hex, PAGE_BYTES } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { checkIdentityMap } from "../kernels/identity-map.js";
import { MemoryRange } from "../memory/memory-range.js";
import { TaggedRanges } from "../memory/range-set.js";
import { checkSourceRange, type Source } from "../sources/source.js";
import { dataLength, type PagesStep, type PlanStep } from "./plan.js";

/** The pages of a step. Throws ADDRESS_OVERFLOW if they pass 2^64. */
export function rangeOf(step: PagesStep): MemoryRange {
  const range = MemoryRange.ofPages(step.pageBase, step.pageCount);
  if (range === undefined) {
    throw new DirectBootError(
      "ADDRESS_OVERFLOW",
      `${step.tag}: ${step.pageCount} pages at ${hex(step.pageBase * 4096n)} pass 2^64`,
    );
  }
  return range;
}

function invalid(details: string): DirectBootError {
  return new DirectBootError("PLAN_INVALID", details);
}

function isLength(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/**
 * Throws PLAN_INVALID for a step that no function of ours makes: plans are plain data, which callers may make, keep and
 * post; what is wrong with one must be known before the first of its steps is carried out.
 */
export function checkStep(step: PlanStep, sources: readonly Source[]): void {
  if (step.kind === "register") {
    if (typeof step.register?.name !== "string")
      throw invalid("a register's step has no register with a name");
    return;
  }
  if (step.kind !== "pages") throw invalid(`a step is neither "pages" nor "register"`);
  const { pageBase, pageCount, tag, data } = step;
  if (typeof tag !== "string") throw invalid("a step's tag is no string");
  if (typeof pageBase !== "bigint" || !isLength(pageCount)) {
    throw invalid(`${tag}: pageBase must be a bigint, pageCount an integer from 0 up`);
  }
  switch (data?.kind) {
    case "bytes":
      if (!(data.bytes instanceof Uint8Array)) throw invalid(`${tag}: its bytes are no Uint8Array`);
      break;
    case "identity-map":
      checkIdentityMap(data.map);
      break;
    case "source": {
      const { offset, length, leadingBytes } = data;
      if (![offset, length, leadingBytes].every(isLength) || leadingBytes >= PAGE_BYTES) {
        throw invalid(
          `${tag}: offset, length and leadingBytes must be integers from 0 up, leadingBytes below ${PAGE_BYTES}`,
        );
      }
      const source = sources[data.source];
      if (source === undefined) {
        throw invalid(`${tag} comes from source ${String(data.source)}, the plan has ${sources.length}`);
      }
      if (length > 0) checkSourceRange(source, offset, length);
      break;
    }
    default:
      throw invalid(`${tag}: its data is of no known kind`);
  }
  // What has no room would be read for ever, in pieces of nothing.
  if (dataLength(data) > pageCount * PAGE_BYTES) {
    throw new DirectBootError(
      "IMPORT_DATA_TOO_LONG",
      `${tag}: ${dataLength(data)} bytes of data for ${pageCount} pages`,
    );
  }
}

/** Takes the steps of a plan one by one; throws IMPORT_OVERLAP, naming both, for one that meets an earlier one. */
export class OverlapCheck {
  readonly #ranges = new TaggedRanges();

  add(step: PagesStep): void {
    const range = rangeOf(step);
    if (range.isEmpty) return;
    const other = this.#ranges.findOverlap(range);
    if (other !== undefined) {
      throw new DirectBootError(
        "IMPORT_OVERLAP",
        `${step.tag} at ${range} overlaps ${other.tag} at ${other.range}`,
      );
    }
    this.#ranges.add(range, step.tag);
  }
}
