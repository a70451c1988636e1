/**
 * A plan: what a load will do, as plain data. An ordered list of steps — these pages come from these bytes, this
 * register gets this value — that can be printed, kept, posted to a worker, and applied to many guests.
 */
import { HV_PAGE_SIZE, PAGE_BYTES, pagesOf } from "../base/address.js";
import { checkFileRegion, type FileRegion } from "../importers/file-region.js";
import type { BootPageAcceptance, VpRegister } from "../importers/importer.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import type { Source } from "../sources/source.js";
import { type IdentityMap, identityMapBytes } from "../wasm/identity-map.js";

/** Where the bytes of pages come from; what they don't cover is zero. */
export type PageData =
  /** Bytes that the plan itself holds. */
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /**
   * `leadingBytes` zeros, then `length` bytes from `offset` of source number `source`. For importers that only
   * know importPages, a chunked range comes in 64 KiB pieces (OpenVMM's import_file_region), any other whole.
   */
  | {
      readonly kind: "source";
      readonly source: number;
      readonly offset: number;
      readonly length: number;
      readonly leadingBytes: number;
      readonly chunked: boolean;
    }
  /** Page tables, written in place. */
  | { readonly kind: "identity-map"; readonly map: IdentityMap };

/** Pages to import. */
export interface PagesStep {
  /** Tells it from a register. */
  readonly kind: "pages";
  /** Guest physical address of the first page / 4096. */
  readonly pageBase: bigint;
  /** Pages of 4096 bytes. */
  readonly pageCount: number;
  /** Who the pages belong to, for messages and maps. */
  readonly tag: string;
  /** How an isolated guest accepts them. */
  readonly acceptance: BootPageAcceptance;
  /** Their bytes. */
  readonly data: PageData;
}

/** A register to set. */
export interface RegisterStep<R extends VpRegister = VpRegister> {
  /** Tells it from pages. */
  readonly kind: "register";
  /** Its name and value. */
  readonly register: R;
}

/** One step of a plan. */
export type PlanStep<R extends VpRegister = VpRegister> = PagesStep | RegisterStep<R>;

/** Steps, and the sources that they number. */
export interface LoadPlan<R extends VpRegister = VpRegister> {
  /** The steps, in order. */
  readonly steps: readonly PlanStep<R>[];
  /** The sources, which {@link PageData} numbers. */
  readonly sources: readonly Source[];
  /** The RAM that the plan was made for. A memory or importer that says where its own RAM lies must have all of it. */
  readonly layout?: MemoryLayout;
}

/** Bytes that a step hands to its importer, leading zeros included. */
export function dataLength(data: PageData): number {
  switch (data.kind) {
    case "bytes":
      return data.bytes.byteLength;
    case "source":
      return data.leadingBytes + data.length;
    case "identity-map":
      return identityMapBytes(data.map);
  }
}

/** Collects steps. The plan is checked when it is whole. */
export class PlanBuilder<R extends VpRegister> implements LoadPlan<R> {
  readonly #steps: PlanStep<R>[] = [];
  readonly #sources: Source[] = [];

  get steps(): readonly PlanStep<R>[] {
    return this.#steps;
  }

  get sources(): readonly Source[] {
    return this.#sources;
  }

  #pages(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    data: PageData,
  ): void {
    this.#steps.push({ kind: "pages", pageBase, pageCount, tag, acceptance, data });
  }

  /** Bytes at a page-aligned address; by default as many pages as hold them. */
  bytes(address: bigint, tag: string, bytes: Uint8Array, pageCount = pagesOf(bytes.byteLength)): void {
    this.#pages(address / HV_PAGE_SIZE, pageCount, tag, "Exclusive", { kind: "bytes", bytes });
  }

  /** Page tables at their own address. */
  identityMap(tag: string, map: IdentityMap): void {
    const pageCount = identityMapBytes(map) / PAGE_BYTES;
    const pageBase = BigInt(map.tableAddress) / HV_PAGE_SIZE;
    this.#pages(pageBase, pageCount, tag, "Exclusive", { kind: "identity-map", map });
  }

  /** All of a source at a page-aligned address, in one import of `pageCount` pages. */
  wholeSource(address: bigint, tag: string, source: Source, pageCount = pagesOf(source.byteLength)): void {
    this.sourceRange(address, tag, source, 0, source.byteLength, pageCount);
  }

  /** `length` bytes from `offset` of a source at a page-aligned address, in one import of `pageCount` pages. */
  sourceRange(
    address: bigint,
    tag: string,
    source: Source,
    offset: number,
    length: number,
    pageCount = pagesOf(length),
  ): void {
    const range = { offset, length, leadingBytes: 0, chunked: false };
    const data = { kind: "source", source: this.#number(source), ...range } as const;
    this.#pages(address / HV_PAGE_SIZE, pageCount, tag, "Exclusive", data);
  }

  /**
   * OpenVMM's `import_file_region`: `fileLength` bytes of a source at any address, zeros around them up to the
   * page bounds of `[gpa, gpa + memoryLength)`. Adds nothing if `memoryLength` is 0.
   *
   * @throws DirectBootError REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH, REGION_OVERFLOW, REGION_READ (the source
   *   ends before), in this order
   */
  fileRegion(region: FileRegion): void {
    const shape = checkFileRegion(region);
    if (shape === undefined) return;
    const { pageBase, pageCount, ...range } = shape;
    const data = { kind: "source", source: this.#number(region.source), ...range, chunked: true } as const;
    this.#pages(pageBase, pageCount, region.tag, region.acceptance, data);
  }

  /** All steps of another plan. */
  append({ steps, sources }: LoadPlan<R>): void {
    for (const step of steps) {
      const source = step.kind === "pages" && step.data.kind === "source" && sources[step.data.source];
      this.#steps.push(source ? { ...step, data: { ...step.data, source: this.#number(source) } } : step);
    }
  }

  register(register: R): void {
    this.#steps.push({ kind: "register", register });
  }

  #number(source: Source): number {
    const known = this.#sources.indexOf(source);
    return known >= 0 ? known : this.#sources.push(source) - 1;
  }
}
