import { HV_PAGE_SIZE, hex, PAGE_BYTES, toAddress, toLength } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { named, shape, wrongType } from "../base/options.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import type { MemoryClaim } from "../memory/memory-claim.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { PageSet } from "../memory/page-set.js";
import { fill } from "../sources/reading.js";
import { checkTarget, guardSource, isMade, type Source, type SyncSource } from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import type { IdentityMap } from "../wasm/identity-map.js";
import type { BootPageAcceptance, ImageLoad, ImportTransaction, VpRegister } from "./importer.js";

/** A page range that was imported. */
export interface ImportedRegion {
  /** Where the pages lie. */
  readonly range: MemoryRange;
  /** Who the pages belong to, such as "linux-kernel". */
  readonly tag: string;
  /** How an isolated guest accepts them. */
  readonly acceptance: BootPageAcceptance;
  /** Bytes of data from the start of the range, leading zeros included; the rest is zero. */
  readonly dataLength: number;
  /** CRC-32 (zlib's) of these bytes, if the importer was asked for it. */
  readonly crc32?: number;
}

/** Options of {@link GuestMemoryImporter}. */
export interface GuestMemoryImporterOptions {
  /** Compute the CRC-32 of each region's data as it is imported; false by default. */
  readonly crc32?: boolean | undefined;
}

/** Throws what an importer of whole pages throws before it looks at memory: empty range, data too long. */
function checkShape(pageBase: bigint, pageCount: number, tag: string, dataLength: number): MemoryRange {
  const range = MemoryRange.ofPages(toAddress(pageBase, "pageBase"), toLength(pageCount, "pageCount"));
  if (range === undefined) {
    throw new DirectBootError(
      "ADDRESS_OVERFLOW",
      `${tag}: ${pageCount} pages at ${hex(pageBase * HV_PAGE_SIZE)} pass 2^64`,
    );
  }
  if (range.isEmpty) throw new DirectBootError("IMPORT_EMPTY", `${tag} at ${hex(range.start)} has no pages`);
  if (dataLength > pageCount * PAGE_BYTES) {
    throw new DirectBootError(
      "IMPORT_DATA_TOO_LONG",
      `${tag}: ${dataLength} bytes of data for ${pageCount} pages (${pageCount * PAGE_BYTES} bytes)`,
    );
  }
  return range;
}

/** What {@link ImageLoad.importSource} takes. */
type SourceCall<S> = [
  ...[pageBase: bigint, pageCount: number, tag: string, acceptance: BootPageAcceptance],
  ...[source: S, offset: number, length: number, leadingBytes: number],
];

const checkOptions = /* @__PURE__ */ named("crc32");
const isRegister = /* @__PURE__ */ shape({});

/**
 * Puts pages into guest memory and keeps the registers. Refuses a range that overlaps one imported before (at page
 * granularity, naming both tags), data longer than its range, empty ranges, writes outside RAM, and a register set
 * twice, as OpenVMM's own importer does.
 *
 * @example
 * ```ts
 * import { applyPlanSync, GuestMemory, GuestMemoryImporter, planLinuxSync } from "directboot";
 *
 * const plan = planLinuxSync({ kernel: "vmlinuz", memory: 64 * 1024 * 1024 });
 * const importer = new GuestMemoryImporter(GuestMemory.create(plan.layout), { crc32: true });
 * applyPlanSync(plan, importer);
 * plan.close();
 * for (const { range, tag, crc32 } of importer.regions) {
 *   if (tag === "linux-kernel") console.log(`${range} ${crc32?.toString(16)}`); // 0x1000000-0x1001000 92f3d218
 * }
 * ```
 */
export class GuestMemoryImporter<R extends VpRegister = VpRegister> implements ImageLoad<R> {
  /** Where the pages go. */
  readonly memory: GuestMemory;
  readonly #regions: ImportedRegion[] = [];
  /** The pages of #regions, by {@link GuestMemory.pageAt}. */
  readonly #taken = new PageSet();
  readonly #registers = new Map<R["name"], R>();

  readonly #hasCrc32: boolean;
  /** The claim of the load that is under way. */
  #claim: MemoryClaim | undefined;

  constructor(memory: GuestMemory, options: GuestMemoryImporterOptions = {}) {
    checkOptions(options, "");
    this.memory = memory;
    this.#hasCrc32 = options.crc32 ?? false;
  }

  /** The RAM of the memory. */
  get layout(): MemoryLayout {
    return this.memory.layout;
  }

  /** The imported regions, in order. */
  get regions(): readonly ImportedRegion[] {
    return this.#regions;
  }

  /** The registers in the order of their import. */
  get registerList(): readonly R[] {
    return [...this.#registers.values()];
  }

  /** Throws what {@link importPages} would throw, and changes nothing. */
  checkPages(pageBase: bigint, pageCount: number, tag: string, dataLength: number): void {
    this.#check(pageBase, pageCount, tag, dataLength);
  }

  #check(pageBase: bigint, pageCount: number, tag: string, dataLength: number): MemoryRange {
    const range = checkShape(pageBase, pageCount, tag, dataLength);
    this.memory.layout.checkIsRam(range, tag);
    const page = this.memory.pageAt(range.start);
    if (this.#taken.hasAny(page, page + pageCount)) {
      const other = this.#regions.find((region) => region.range.overlaps(range));
      throw new DirectBootError(
        "IMPORT_OVERLAP",
        `${tag} at ${range} overlaps ${other?.tag} at ${other?.range}`,
      );
    }
    return range;
  }

  /** Throws IMPORT_REGISTER_TWICE if the register is set already. */
  checkVpRegister(register: R): void {
    isRegister(register, "register");
    if (this.#registers.has(register.name)) {
      throw new DirectBootError("IMPORT_REGISTER_TWICE", `register ${register.name} is set already`);
    }
  }

  /**
   * Begins a load that is carried out whole or taken back.
   *
   * @param claim the load's claim on the memory, which the caller releases
   * @throws TypeError for a claim on another memory
   */
  begin(claim?: MemoryClaim): ImportTransaction {
    if (claim !== undefined) this.memory.checkClaim(claim);
    this.#claim = claim;
    const regionCount = this.#regions.length;
    const registers = new Set(this.#registers.keys());
    return {
      rollback: () => {
        let lost: unknown;
        for (const { range } of this.#regions.splice(regionCount)) {
          const page = this.memory.pageAt(range.start);
          this.#taken.delete(page, page + Number(range.length / HV_PAGE_SIZE));
          try {
            this.memory.zeroWhatIsLeft(range.start, Number(range.length), this.#claim);
          } catch (cause) {
            lost = cause;
          }
        }
        for (const name of [...this.#registers.keys()])
          if (!registers.has(name)) this.#registers.delete(name);
        if (lost !== undefined) throw lost;
      },
    };
  }

  #add(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    dataLength: number,
  ): MemoryRange {
    const range = this.#check(pageBase, pageCount, tag, dataLength);
    this.memory.checkUnclaimed(this.#claim);
    this.#regions.push({ range, tag, acceptance, dataLength });
    const page = this.memory.pageAt(range.start);
    this.#taken.add(page, page + pageCount);
    return range;
  }

  /** Notes the CRC-32 of the region that was imported last, if it is asked for; `known` saves a pass over the data. */
  #addCrc32(known?: number): void {
    const region = this.#regions.at(-1);
    if (!this.#hasCrc32 || region === undefined) return;
    const crc32 = known ?? this.memory.crc32(region.range.start, region.dataLength);
    this.#regions[this.#regions.length - 1] = { ...region, crc32 };
  }

  /** Zeros `range` from `dataLength` bytes on. */
  #zeroTail(range: MemoryRange, dataLength: number): void {
    this.memory.zero(range.start + BigInt(dataLength), Number(range.length) - dataLength, this.#claim);
  }

  /**
   * Writes `data` at `pageBase * 4096`, then zeros up to `pageCount` pages.
   *
   * @throws DirectBootError IMPORT_OVERLAP, IMPORT_DATA_TOO_LONG, IMPORT_EMPTY, ADDRESS_OVERFLOW, GUEST_MEMORY_NOT_RAM
   */
  importPages(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    data: Uint8Array,
  ): void {
    if (!(data instanceof Uint8Array)) throw wrongType("data", "a Uint8Array", data);
    const range = this.#add(pageBase, pageCount, tag, acceptance, data.byteLength);
    this.#writeData(range, data, 0);
    this.#zeroTail(range, data.byteLength);
  }

  /** Writes data behind `leadingBytes` zeros, by one bulk copy. */
  #writeData(range: MemoryRange, data: Uint8Array, leadingBytes: number): void {
    const address = range.start + BigInt(leadingBytes);
    if (!this.#hasCrc32) {
      this.memory.write(address, data);
      return;
    }
    const leading = leadingBytes === 0 ? 0 : this.memory.crc32(range.start, leadingBytes);
    this.#addCrc32(this.memory.writeWithCrc32(address, data, leading));
  }

  *#copySource(
    range: MemoryRange,
    source: Source,
    offset: number,
    length: number,
    leadingBytes: number,
  ): Task<void> {
    this.memory.zero(range.start, leadingBytes, this.#claim);
    const isWhole = leadingBytes === 0 && offset === 0 && length === source.byteLength;
    const place = isMade(source) && isWhole ? this.memory.place(range.start, length) : undefined;
    const bytes = place === undefined ? guardSource(source).peek?.(offset, length) : undefined;
    if (place !== undefined && isMade(source)) {
      yield* source.makeInto(place);
      this.#addCrc32();
    } else if (bytes !== undefined) {
      this.#writeData(range, bytes, leadingBytes);
    } else {
      let done = 0;
      const parts = this.memory
        .parts(range.start + BigInt(leadingBytes), length)
        .map((bytes) => ({ bytes, byteLength: bytes.byteLength }));
      for (const { bytes: part, byteLength } of parts) {
        // One may go away before its turn, and would pass for empty.
        checkTarget(source.name, part, byteLength);
        yield* fill(source, part, offset + done);
        done += byteLength;
      }
      this.#addCrc32();
    }
    this.#zeroTail(range, leadingBytes + length);
  }

  /** A claim for one import that is no part of a load which has one: through an importer of the caller's, for example. */
  #claimIfNone(): MemoryClaim | undefined {
    if (this.#claim?.isHeld === true) return undefined;
    this.#claim = this.memory.claim();
    return this.#claim;
  }

  *#importSource(call: readonly [...SourceCall<Source>, signal?: AbortSignal]): Task<void> {
    const [pageBase, pageCount, tag, acceptance, source, offset, length, leadingBytes] = call;
    const range = this.#add(pageBase, pageCount, tag, acceptance, leadingBytes + length);
    const own = this.#claimIfNone();
    try {
      yield* this.#copySource(range, source, offset, length, leadingBytes);
    } finally {
      own?.release();
    }
  }

  importSource(...call: SourceCall<SyncSource>): void {
    runSync(this.#importSource(call));
  }

  importSourceAsync(...call: [...SourceCall<Source>, signal?: AbortSignal]): Promise<void> {
    return runAsync(this.#importSource(call), call[8]);
  }

  importIdentityMap(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    map: IdentityMap,
  ): void {
    const range = this.#add(pageBase, pageCount, tag, acceptance, pageCount * PAGE_BYTES);
    this.memory.writeIdentityMap(range.start, map);
    this.#addCrc32();
  }

  /** Keeps the register. Throws IMPORT_REGISTER_TWICE if it is set already. */
  importVpRegister(register: R): void {
    this.checkVpRegister(register);
    this.#registers.set(register.name, register);
  }
}
