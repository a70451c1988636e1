/**
 * The one check of a plan, which may be plain data from anywhere: its numbers are possible, its steps don't overlap, and all
 * of them lie in the RAM that it was made for.
 */
import { hex, PAGE_BYTES } from "../base/address.js";
import { describeForeign, describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import type { VpRegister } from "../importers/importer.js";
import { MemoryLayout, type RamRange } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
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

/** The source of a step. Throws PLAN_INVALID if the plan has none of that number. */
export function sourceOf(
  data: Extract<PageData, { kind: "source" }>,
  sources: readonly Source[],
  tag: string,
): Source {
  const source = sources[data.source];
  if (source === undefined) {
    throw new DirectBootError(
      "PLAN_INVALID",
      `${tag} comes from source ${data.source}, the plan has ${sources.length}`,
    );
  }
  return source;
}

/** A layout, or one that lost its class in structuredClone. TypeError if it is neither. */
export function toLayout(layout: MemoryLayout | undefined, what: string): MemoryLayout | undefined {
  if (layout === undefined || layout instanceof MemoryLayout) return layout;
  const { ram } = Object(layout) as Partial<MemoryLayout>;
  if (!Array.isArray(ram)) {
    throw new TypeError(`${what} must be a MemoryLayout, got ${describeForeign(layout, [MemoryLayout])}`);
  }
  // The constructor checks the ranges, whatever they are.
  return new MemoryLayout(ram.map((entry: Partial<RamRange> | undefined) => Object(entry?.range)));
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
      const source = sourceOf(data, sources, tag);
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

/** Throws IMPORT_EMPTY, IMPORT_OVERLAP or GUEST_MEMORY_NOT_RAM, naming the steps. */
function checkPlaces<R extends VpRegister>(
  steps: readonly PlanStep<R>[],
  layout: MemoryLayout | undefined,
): void {
  const places: { readonly range: MemoryRange; readonly tag: string }[] = [];
  for (const step of steps) {
    if (step.kind === "pages") places.push({ range: rangeOf(step), tag: step.tag });
  }
  places.sort(({ range: a }, { range: b }) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  let before: (typeof places)[number] | undefined;
  for (const place of places) {
    const { range, tag } = place;
    if (range.isEmpty)
      throw new DirectBootError("IMPORT_EMPTY", `${tag} at ${hex(range.start)} has no pages`);
    if (before?.range.overlaps(range)) {
      throw new DirectBootError(
        "IMPORT_OVERLAP",
        `${tag} at ${range} overlaps ${before.tag} at ${before.range}`,
      );
    }
    layout?.checkIsRam(range, tag);
    before = place;
  }
}

/** Throws IMPORT_REGISTER_TWICE. */
function checkRegisters<R extends VpRegister>(steps: readonly PlanStep<R>[]): void {
  const names = new Set<string>();
  for (const step of steps) {
    if (step.kind !== "register") continue;
    const { name } = step.register;
    if (names.has(name)) {
      throw new DirectBootError("IMPORT_REGISTER_TWICE", `the plan sets register ${name} twice`);
    }
    names.add(name);
  }
}

const checked = /* @__PURE__ */ new WeakSet<object>();

/**
 * Checks a plan; one that passes can be carried out, if its importer and its sources agree. A {@link markChecked} plan passes.
 *
 * @param isOneImage steps that overlap, and registers that are set twice, are errors; an importer that takes OpenVMM's calls
 *   one by one may accept them
 * @throws TypeError for what is no plan
 * @throws DirectBootError PLAN_INVALID, ADDRESS_OVERFLOW, IMPORT_DATA_TOO_LONG, PAGE_TABLE_INVALID_ADDRESS; SOURCE_SHORT if
 *   a step wants more of a source than there is; IMPORT_EMPTY, IMPORT_OVERLAP, IMPORT_REGISTER_TWICE; GUEST_MEMORY_NOT_RAM
 *   if the plan knows its layout
 */
export function checkPlan<R extends VpRegister>(plan: LoadPlan<R>, isOneImage: boolean): void {
  if (checked.has(plan)) return;
  const { steps, sources, layout } = plan ?? {};
  if (!Array.isArray(steps) || !Array.isArray(sources)) {
    throw new TypeError(`plan must have steps and sources, got ${describeType(plan)}`);
  }
  for (const source of sources) {
    if (!isSource(source)) throw new TypeError(`a plan's source is ${describeType(source)}`);
  }
  for (const step of steps) checkStep(step, sources);
  if (!isOneImage) return;
  checkPlaces(steps, toLayout(layout, "the layout of a plan"));
  checkRegisters(steps);
}

/** Spares a plan that was checked, and can't be changed, another check when it is applied. */
export function markChecked(plan: LoadPlan): void {
  checked.add(plan);
}
