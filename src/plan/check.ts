/**
 * What can be said against a plan before anything is imported: its numbers can't be true, its steps collide, or don't lie
 * in RAM.
 */
import { hex, PAGE_BYTES } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import type { VpRegister } from "../importers/importer.js";
import { MemoryRange } from "../memory/memory-range.js";
import { TaggedRanges } from "../memory/range-set.js";
import { hasKnownLength, isSource, type Source } from "../sources/source.js";
import { checkIdentityMap } from "../wasm/identity-map.js";
import { dataLength, type LoadPlan, type PageData, type PagesStep, type PlanStep } from "./plan.js";

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

function invalid(what: string, value: unknown): DirectBootError {
  return new DirectBootError("PLAN_INVALID", `${what} is ${describeType(value)}`);
}

function checkCount(value: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(what, value);
}

function checkObject(value: object, what: string): void {
  if (typeof value !== "object" || value === null) throw invalid(what, value);
}

function checkData(data: PageData, sources: readonly Source[], tag: string): void {
  checkObject(data, `the data of ${tag}`);
  switch (data.kind) {
    case "bytes":
      if (!(data.bytes instanceof Uint8Array)) throw invalid(`the data of ${tag}`, data.bytes);
      return;
    case "identity-map":
      checkObject(data.map, `the page tables of ${tag}`);
      checkIdentityMap(data.map);
      return;
    case "source": {
      const { offset, length, leadingBytes } = data;
      checkCount(data.source, `the source of ${tag}`);
      checkCount(offset, `the offset of ${tag}`);
      checkCount(length, `the length of ${tag}`);
      checkCount(leadingBytes, `leadingBytes of ${tag}`);
      if (leadingBytes >= PAGE_BYTES) {
        throw new DirectBootError(
          "PLAN_INVALID",
          `leadingBytes of ${tag} are ${leadingBytes}, the limit is ${PAGE_BYTES - 1}`,
        );
      }
      const source = sources[data.source];
      if (source === undefined) {
        throw new DirectBootError(
          "PLAN_INVALID",
          `${tag} comes from source ${data.source}, the plan has ${sources.length}`,
        );
      }
      if (hasKnownLength(source) && offset + length > source.byteLength) {
        throw new DirectBootError(
          "SOURCE_SHORT",
          `${tag}: bytes ${offset} to ${offset + length} of ${source.name} are wanted, it has ${source.byteLength}`,
        );
      }
      return;
    }
    default:
      throw invalid(`the data of ${tag}`, data);
  }
}

function checkPages(step: PagesStep, sources: readonly Source[]): void {
  const { pageBase, pageCount, tag, data } = step;
  if (typeof tag !== "string") throw invalid("a step's tag", tag);
  if (typeof pageBase !== "bigint" || pageBase < 0n) throw invalid(`pageBase of ${tag}`, pageBase);
  checkCount(pageCount, `pageCount of ${tag}`);
  checkData(data, sources, tag);
  rangeOf(step);
  // Importers without importIdentityMap are handed the tables in a buffer of all their pages.
  if (data.kind === "identity-map" && dataLength(data) < pageCount * PAGE_BYTES) {
    throw new DirectBootError(
      "PLAN_INVALID",
      `${tag}: ${dataLength(data)} bytes of page tables for ${pageCount} pages`,
    );
  }
  if (dataLength(data) > pageCount * PAGE_BYTES) {
    throw new DirectBootError(
      "IMPORT_DATA_TOO_LONG",
      `${tag}: ${dataLength(data)} bytes of data for ${pageCount} pages`,
    );
  }
}

function checkStep(step: PlanStep, sources: readonly Source[]): void {
  checkObject(step, "a step");
  if (step.kind === "pages") {
    checkPages(step, sources);
    return;
  }
  if (step.kind !== "register") throw invalid("a step", step);
  const { register } = step;
  checkObject(register, "a register");
  const { name, value } = register;
  if (typeof name !== "string") throw invalid("a register's name", name);
  if (typeof value !== "bigint" && (typeof value !== "object" || value === null)) {
    throw invalid(`the value of ${name}`, value);
  }
}

/**
 * Checks the numbers of a plan, which may be plain data from anywhere: what passes can be carried out, if its importer
 * and its sources agree.
 *
 * @throws TypeError for what is no plan
 * @throws DirectBootError PLAN_INVALID, ADDRESS_OVERFLOW, IMPORT_DATA_TOO_LONG, PAGE_TABLE_INVALID_ADDRESS; SOURCE_SHORT if
 *   a step wants more of a source than there is
 */
export function checkPlan<R extends VpRegister>(plan: LoadPlan<R>): void {
  const { steps, sources } = plan ?? {};
  if (!Array.isArray(steps) || !Array.isArray(sources)) {
    throw new TypeError("a plan has an array of steps and one of sources");
  }
  for (const source of sources) {
    if (!isSource(source)) throw new TypeError(`a plan's source is ${describeType(source)}`);
  }
  for (const step of steps) checkStep(step, sources);
}
