import { hex } from "../base/address.js";
import type { BootPageAcceptance, VpRegister } from "../importers/importer.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import type { MemoryRange } from "../memory/memory-range.js";
import { checkPlan, markChecked, rangeOf } from "../plan/check.js";
import type { LoadInfo } from "../plan/load-info.js";
import { dataLength, type LoadPlan, type PageData, type PlanStep } from "../plan/plan.js";
import type { EntryMode, GuestArchitecture, PlannedGuest } from "../plan/planned-guest.js";
import type { Source } from "../sources/source.js";
import type { Decompression } from "../unpack/kernel-file.js";

/** Pages that a plan fills. */
export interface PlannedPages {
  /** Where the pages will lie. */
  readonly range: MemoryRange;
  /** Who the pages belong to, such as "linux-kernel". */
  readonly tag: string;
  /** How an isolated guest accepts them. */
  readonly acceptance: BootPageAcceptance;
  /** Bytes from the start of the range. */
  readonly dataLength: number;
}

/** What is planned, for whom. */
export interface LinuxPlanParts extends Omit<PlannedGuest, "memory"> {
  readonly decompression?: Decompression | undefined;
}

/** A load as data, and the sources that it reads from. Apply it as often as you like; then close it. */
export class LinuxPlan implements LoadPlan {
  /** What the guest's processor must be. */
  readonly architecture: GuestArchitecture;
  /** The state that the registers start the processor in. */
  readonly entryMode: EntryMode;
  /** What the load will do, in order. */
  readonly steps: readonly PlanStep[];
  /** What the steps read from, by number. */
  readonly sources: readonly Source[];
  /** Where kernel, initrd and device tree will lie. */
  readonly info: LoadInfo;
  /** The RAM that the plan was made for. */
  readonly layout: MemoryLayout;
  /** What of the kernel is compressed, and who undoes it; undefined if nothing is. */
  readonly decompression: Decompression | undefined;
  readonly #close: () => void;

  /**
   * @param close gives back the files that were opened for the plan
   * @throws DirectBootError IMPORT_EMPTY, IMPORT_OVERLAP, GUEST_MEMORY_NOT_RAM, naming what collides or does not fit
   */
  constructor(
    { plan, architecture, entryMode, info, layout, decompression }: LinuxPlanParts,
    close: () => void,
  ) {
    this.architecture = architecture;
    this.entryMode = entryMode;
    this.steps = Object.freeze([...plan.steps]);
    this.sources = Object.freeze([...plan.sources]);
    this.info = info;
    this.layout = layout;
    this.decompression = decompression;
    this.#close = close;
    checkPlan(this, true);
    markChecked(this);
  }

  /** The pages of the plan, in the order of their import; `dataLength` bytes of each are not just zeros to fill up. */
  get pages(): PlannedPages[] {
    return this.steps.flatMap((step) =>
      step.kind === "pages"
        ? [
            {
              range: rangeOf(step),
              tag: step.tag,
              acceptance: step.acceptance,
              dataLength: dataLength(step.data),
            },
          ]
        : [],
    );
  }

  /** The registers, in the order of their import. */
  get registers(): VpRegister[] {
    return this.steps.flatMap((step) => (step.kind === "register" ? [step.register] : []));
  }

  /** Closes the files that the plan opened. A plan of bytes and sources of the caller's needs no closing. */
  close(): void {
    this.#close();
  }

  /** The plan without the bytes of its sources, with hex strings for addresses, lengths and register values. */
  toJSON(): unknown {
    return {
      architecture: this.architecture,
      entryMode: this.entryMode,
      ram: this.layout,
      ...(this.decompression === undefined ? {} : { decompression: this.decompression }),
      sources: this.sources.map(({ name, byteLength }) => ({ name, byteLength: hex(byteLength) })),
      steps: this.steps.map((step) =>
        step.kind === "register"
          ? { kind: step.kind, name: step.register.name, value: registerToJSON(step.register) }
          : {
              kind: step.kind,
              tag: step.tag,
              gpa: hex(step.pageBase * 4096n),
              length: hex(BigInt(step.pageCount) * 4096n),
              acceptance: step.acceptance,
              data: dataToJSON(step.data),
            },
      ),
      info: this.info,
    };
  }
}

function dataToJSON(data: PageData): Record<string, unknown> {
  switch (data.kind) {
    case "bytes":
      return { kind: data.kind, length: hex(data.bytes.byteLength) };
    case "identity-map":
      return { kind: data.kind, gibibytes: data.map.gibibytes };
    case "source":
      return {
        kind: data.kind,
        source: data.source,
        offset: hex(data.offset),
        length: hex(data.length),
        leadingBytes: hex(data.leadingBytes),
      };
  }
}

/** A register's value with hex strings in place of numbers, as in an export's manifest. */
export function registerToJSON({ value }: VpRegister): string | Record<string, string> {
  if (typeof value === "bigint") return hex(value);
  return Object.fromEntries(
    Object.entries(value).map(([field, number]: [string, number | bigint]) => [field, hex(number)]),
  );
}
