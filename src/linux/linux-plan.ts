import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { options } from "../base/options.js";
import type { ImportedRegion } from "../importers/guest-memory-importer.js";
import type { VpRegister } from "../importers/importer.js";
import { checkPlan, markChecked, rangeOf } from "../plan/check.js";
import { TEXT_OPTIONS } from "../plan/command-line.js";
import { dataLength, type LoadPlan, type PageData, type PlanStep } from "../plan/plan.js";
import type { GuestText, PlannedGuest } from "../plan/planned-guest.js";
import type { Source } from "../sources/source.js";
import { runAsync } from "../task/run.js";
import {
  type Aarch64Registers,
  byName,
  type ForArm64,
  type ForX86,
  factsToJSON,
  GuestFacts,
  registerToJSON,
  type X86Registers,
} from "./registers.js";
import type { TransferOptions, TravellingSource } from "./travel.js";
import { checkTransferOptions, packPlan } from "./travel.js";

const checkText = /* @__PURE__ */ options(TEXT_OPTIONS);

/** Pages that a plan fills. */
export type PlannedPages = Omit<ImportedRegion, "crc32">;

/** A plan, and the guest that it is for. */
export interface LinuxPlanParts extends GuestFacts, Pick<PlannedGuest, "plan" | "with"> {}

/** The data of {@link LinuxPlan}'s toTransferable, as `postMessage` takes it. */
export interface TransferredPlan
  extends Pick<GuestFacts, "architecture" | "entryMode" | "info" | "layout" | "decompression"> {
  /** Tells it from other messages. */
  readonly kind: "directboot-plan";
  /** The steps of the plan. */
  readonly steps: readonly PlanStep[];
  /** Its sources, read or to be opened again. */
  readonly sources: readonly TravellingSource[];
}

function refuseClone(): never {
  throw new DirectBootError("PLAN_NOT_TRANSFERABLE", "a plan can't be posted or cloned as it is");
}

class Plan extends GuestFacts implements LoadPlan {
  /** @internal The public name, in messages and in the console. */
  static override readonly name: string = "LinuxPlan";
  /** The steps of the load, in order. */
  declare readonly steps: readonly PlanStep[];
  /** The sources of the steps, by number. */
  declare readonly sources: readonly Source[];
  readonly #parts: LinuxPlanParts;
  readonly #close: () => void;

  /**
   * @param close gives back the files that were opened for the plan
   * @throws DirectBootError IMPORT_EMPTY, IMPORT_OVERLAP, GUEST_MEMORY_NOT_RAM, naming what collides or does not fit
   */
  constructor(parts: LinuxPlanParts, close: () => void) {
    super(parts);
    // What structuredClone and postMessage come to first: the clone would be no plan, which only its receiver would notice.
    Object.defineProperty(this, "isCloneable", { enumerable: true, get: refuseClone });
    this.steps = Object.freeze([...parts.plan.steps]);
    this.sources = Object.freeze([...parts.plan.sources]);
    this.#parts = parts;
    this.#close = close;
    checkPlan(this, true);
    markChecked(this);
  }

  /** The pages of the plan, in the order of their import; `dataLength` bytes of each are not just zeros to fill up. */
  get pages(): PlannedPages[] {
    return this.steps.flatMap((step) => {
      if (step.kind !== "pages") return [];
      const { tag, acceptance, data } = step;
      return [{ range: rangeOf(step), tag, acceptance, dataLength: dataLength(data) }];
    });
  }

  /** The registers that the boot processor starts with, by name. */
  get registers(): X86Registers | Aarch64Registers {
    return byName(this.registerList);
  }

  /** The registers, in the order of their import. */
  get registerList(): VpRegister[] {
    return this.steps.flatMap((step) => (step.kind === "register" ? [step.register] : []));
  }

  /**
   * The plan of a guest that differs in its command line, its random seed, or both. Nothing is read or decompressed again.
   * The new plan reads from this one's files: close this one last.
   *
   * @throws TypeError for options of a wrong type or an unknown name
   * @throws DirectBootError what planning throws: COMMAND_LINE_TOO_LONG, PLACEMENT_NO_ROOM …
   *
   * @example
   * ```ts
   * import { applyPlanSync, GuestMemory, planLinuxSync } from "directboot";
   *
   * const plan = planLinuxSync({ kernel: "vmlinuz", memory: 64 * 1024 * 1024 });
   * for (const name of ["one", "two"]) {
   *   const rngSeed = crypto.getRandomValues(new Uint8Array(32));
   *   applyPlanSync(plan.with({ commandLine: `hostname=${name}`, rngSeed }), GuestMemory.create(plan.layout));
   * }
   * plan.close();
   * ```
   */
  with(text: GuestText): LinuxPlan {
    checkText(text, "");
    // What is undefined stays as it is.
    const given = Object.entries(text).filter(([, value]) => value !== undefined);
    const { decompression } = this;
    return new LinuxPlan({ ...this.#parts.with(Object.fromEntries(given)), decompression }, () => {});
  }

  /**
   * The plan as data for `postMessage` and `structuredClone`, which `planFromTransferable` makes a plan of again. This plan
   * stays as it is, but for streams, which are used up. `transfer` lists the buffers to hand on without a copy.
   *
   * @throws DirectBootError PLAN_NOT_TRANSFERABLE for a FileHandle, a stream or a source of the caller's with
   *   `read: "there"`; what reading throws
   */
  async toTransferable(
    how: TransferOptions,
  ): Promise<{ readonly data: TransferredPlan; readonly transfer: ArrayBuffer[] }> {
    checkTransferOptions(how, "");
    const { transfer, ...packed } = await runAsync(packPlan(this, how));
    const { architecture, entryMode, info, layout, decompression } = this;
    const facts = { architecture, entryMode, info, layout, decompression };
    return { data: { kind: "directboot-plan", ...facts, ...packed }, transfer };
  }

  /** Closes the files that the plan opened. A plan of bytes and sources of the caller's needs no closing. */
  close(): void {
    this.#close();
  }

  /** The plan without the bytes of its sources, with hex strings for addresses and register values, numbers for bytes. */
  toJSON(): unknown {
    return {
      ...factsToJSON(this),
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
export interface X86LinuxPlan extends Omit<Plan, keyof ForX86 | "with">, ForX86 {
  /** This plan with another command line, random seed, or both. */
  with(text: GuestText): X86LinuxPlan;
}

/** A {@link LinuxPlan} for an arm64 processor. */
export interface Arm64LinuxPlan extends Omit<Plan, keyof ForArm64 | "with">, ForArm64 {
  /** This plan with another command line, random seed, or both. */
  with(text: GuestText): Arm64LinuxPlan;
}

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
    case "source": {
      const { kind, source, offset, length, leadingBytes } = data;
      return { kind, source, offset, length, leadingBytes };
    }
  }
}
