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
import {
  type Aarch64Registers,
  byName,
  type ForArm64,
  type ForX86,
  registerToJSON,
  type X86Registers,
} from "./registers.js";

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

/** A plan, and the guest that it is for. */
export interface LinuxPlanParts extends Omit<PlannedGuest, "memory"> {
  readonly decompression?: Decompression | undefined;
}

class Plan implements LoadPlan {
  /** @internal The public name, in messages and in the console. */
  static readonly name: string = "LinuxPlan";
  /** The processor that the guest must have. */
  readonly architecture: GuestArchitecture;
  /** The state that the registers start the processor in. */
  readonly entryMode: EntryMode;
  /** The steps of the load, in order. */
  readonly steps: readonly PlanStep[];
  /** The sources of the steps, by number. */
  readonly sources: readonly Source[];
  /** Where kernel, initrd and device tree will lie. */
  readonly info: LoadInfo;
  /** The RAM that the plan was made for. */
  readonly layout: MemoryLayout;
  /** How the kernel is compressed, and who decompresses it; undefined if it is not. */
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

  /** The registers that the boot processor starts with, by name. */
  get registers(): X86Registers | Aarch64Registers {
    return byName(this.registerList);
  }

  /** The registers, in the order of their import. */
  get registerList(): VpRegister[] {
    return this.steps.flatMap((step) => (step.kind === "register" ? [step.register] : []));
  }

  /** Closes the files that the plan opened. A plan of bytes and sources of the caller's needs no closing. */
  close(): void {
    this.#close();
  }

  /** The plan without the bytes of its sources, with hex strings for addresses and register values, numbers for bytes. */
  toJSON(): unknown {
    return {
      architecture: this.architecture,
      entryMode: this.entryMode,
      ram: this.layout,
      ...(this.decompression === undefined ? {} : { decompression: this.decompression }),
      sources: this.sources.map(({ name, byteLength }) => ({ name, byteLength })),
      steps: this.steps.map((step) =>
        step.kind === "register"
          ? { kind: step.kind, name: step.register.name, value: registerToJSON(step.register) }
          : {
              kind: step.kind,
              tag: step.tag,
              gpa: hex(step.pageBase * 4096n),
              length: step.pageCount * 4096,
              acceptance: step.acceptance,
              data: dataToJSON(step.data),
            },
      ),
      info: this.info,
    };
  }
}

/** A {@link LinuxPlan} for an x86 processor. */
export interface X86LinuxPlan extends Omit<Plan, keyof ForX86>, ForX86 {}

/** A {@link LinuxPlan} for an arm64 processor. */
export interface Arm64LinuxPlan extends Omit<Plan, keyof ForArm64>, ForArm64 {}

/** A load as data, and the sources that it reads from. Apply it as often as you like; then close it. */
export type LinuxPlan = X86LinuxPlan | Arm64LinuxPlan;

/** The class of all plans: `plan instanceof LinuxPlan`. */
export const LinuxPlan = Plan as unknown as {
  /** @internal */
  new (parts: LinuxPlanParts, close: () => void): LinuxPlan;
  /** The type that `instanceof` narrows to. */
  readonly prototype: LinuxPlan;
};

function dataToJSON(data: PageData): Record<string, unknown> {
  switch (data.kind) {
    case "bytes":
      return { kind: data.kind, length: data.bytes.byteLength };
    case "identity-map":
      return { kind: data.kind, gibibytes: data.map.gibibytes };
    case "source":
      return {
        kind: data.kind,
        source: data.source,
        offset: data.offset,
        length: data.length,
        leadingBytes: data.leadingBytes,
      };
  }
}
