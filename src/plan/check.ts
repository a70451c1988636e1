/** What can be said against a plan before anything is imported: its steps collide, or don't lie in RAM. */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { MemoryRange } from "../memory/memory-range.js";
import { TaggedRanges } from "../memory/range-set.js";
import type { PagesStep } from "./plan.js";

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
