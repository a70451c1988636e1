/** Results of a load. */
import { hex } from "../base/address.js";
import type { GuestMemoryImporter, ImportedRegion } from "../importers/guest-memory-importer.js";
import type { VpRegister } from "../importers/importer.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import type { LinuxPlan } from "./linux-plan.js";
import {
  type Aarch64Registers,
  type ForArm64,
  type ForX86,
  factsToJSON,
  GuestFacts,
  registersToJSON,
  type X86Registers,
} from "./registers.js";

class Loaded extends GuestFacts {
  /** @internal The public name, in messages and in the console. */
  static override readonly name: string = "LoadedLinux";
  /** The registers that the boot processor starts with, by name. */
  readonly registers: X86Registers | Aarch64Registers;
  /** The registers in the order in which they were set. */
  readonly registerList: readonly VpRegister[];
  /** The imported regions, in order. */
  readonly regions: readonly ImportedRegion[];

  constructor(plan: LinuxPlan, regions: readonly ImportedRegion[]) {
    super(plan);
    this.registerList = plan.registerList;
    this.registers = plan.registers;
    this.regions = regions;
  }

  /** The result without the memory, with hex strings for addresses and register values, numbers for bytes. */
  toJSON(): unknown {
    return {
      ...factsToJSON(this),
      registers: registersToJSON(this.registerList),
      info: this.info,
      regions: this.regions.map(({ range, tag, acceptance, dataLength, crc32 }) => ({
        gpa: hex(range.start),
        length: Number(range.length),
        dataLength,
        tag,
        acceptance,
        ...(crc32 === undefined ? {} : { crc32: hex(crc32) }),
      })),
    };
  }
}

class Guest extends Loaded {
  /** @internal */
  static override readonly name: string = "LinuxGuest";
  /** The guest's RAM. */
  readonly memory: GuestMemory;

  constructor(importer: GuestMemoryImporter, plan: LinuxPlan) {
    super(plan, importer.regions);
    this.memory = importer.memory;
  }
}

/** A {@link LoadedLinux} for an x86 processor. */
export interface X86LoadedLinux extends Omit<Loaded, keyof ForX86>, ForX86 {}

/** A {@link LoadedLinux} for an arm64 processor. */
export interface Arm64LoadedLinux extends Omit<Loaded, keyof ForArm64>, ForArm64 {}

/** A kernel that was loaded. `JSON.stringify` gives what was loaded, without the memory. */
export type LoadedLinux = X86LoadedLinux | Arm64LoadedLinux;

export const LoadedLinux = Loaded as unknown as {
  new (plan: LinuxPlan, regions: readonly ImportedRegion[]): LoadedLinux;
  readonly prototype: LoadedLinux;
};

/** A {@link LinuxGuest} for an x86 processor. */
export interface X86LinuxGuest extends Omit<Guest, keyof ForX86>, ForX86 {}

/** A {@link LinuxGuest} for an arm64 processor. */
export interface Arm64LinuxGuest extends Omit<Guest, keyof ForArm64>, ForArm64 {}

/** A guest whose kernel is loaded, with its memory. */
export type LinuxGuest = X86LinuxGuest | Arm64LinuxGuest;

/** The class of all guests: `guest instanceof LinuxGuest`. */
export const LinuxGuest = Guest as unknown as {
  /** @internal */
  new (importer: GuestMemoryImporter, plan: LinuxPlan): LinuxGuest;
  /** The type that `instanceof` narrows to. */
  readonly prototype: LinuxGuest;
};
