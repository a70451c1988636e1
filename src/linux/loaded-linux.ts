/** What a load gives. */
import { hex } from "../base/address.js";
import type { GuestMemoryImporter, ImportedRegion } from "../importers/guest-memory-importer.js";
import type { Aarch64Register, VpRegister, X86Register } from "../importers/importer.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import type { LoadInfo } from "../plan/load-info.js";
import type { EntryMode, GuestArchitecture } from "../plan/planned-guest.js";
import type { Decompression } from "../unpack/kernel-file.js";
import { type LinuxPlan, registerToJSON } from "./linux-plan.js";

/** Values of the registers by name; one that was not set is undefined, and zero in the guest. */
export type RegistersByName = { readonly [R in X86Register | Aarch64Register as R["name"]]?: R["value"] };

/** A kernel that was loaded. `JSON.stringify` gives what was loaded, without the memory, in hex strings. */
export class LoadedLinux {
  /** What the guest's processor must be. */
  readonly architecture: GuestArchitecture;
  /** The state that the registers start the processor in. */
  readonly entryMode: EntryMode;
  /** What the boot processor starts with, by name. */
  readonly registers: RegistersByName;
  /** The registers in the order in which they were set. */
  readonly registerList: readonly VpRegister[];
  /** Where kernel, initrd and device tree lie, and the entry point. */
  readonly info: LoadInfo;
  /** What lies where. */
  readonly regions: readonly ImportedRegion[];
  /** The RAM that it was loaded for. */
  readonly layout: MemoryLayout;
  /** What of the kernel was compressed, and who undoes it; undefined if nothing was. */
  readonly decompression: Decompression | undefined;

  constructor(plan: LinuxPlan, regions: readonly ImportedRegion[]) {
    this.architecture = plan.architecture;
    this.entryMode = plan.entryMode;
    this.registerList = plan.registers;
    this.registers = Object.fromEntries(this.registerList.map(({ name, value }) => [name, value]));
    this.info = plan.info;
    this.layout = plan.layout;
    this.decompression = plan.decompression;
    this.regions = regions;
  }

  /** What was loaded, without the memory, with hex strings for addresses, lengths and register values. */
  toJSON(): unknown {
    return {
      architecture: this.architecture,
      entryMode: this.entryMode,
      ram: this.layout,
      ...(this.decompression === undefined ? {} : { decompression: this.decompression }),
      registers: Object.fromEntries(
        this.registerList.map((register) => [register.name, registerToJSON(register)]),
      ),
      info: this.info,
      regions: this.regions.map(({ range, tag, acceptance, dataLength, crc32 }) => ({
        gpa: hex(range.start),
        length: hex(range.length),
        dataLength: hex(dataLength),
        tag,
        acceptance,
        ...(crc32 === undefined ? {} : { crc32: hex(crc32) }),
      })),
    };
  }
}

/** A guest whose kernel is loaded, with its memory. */
export class LinuxGuest extends LoadedLinux {
  /** The guest's RAM. */
  readonly memory: GuestMemory;

  constructor(importer: GuestMemoryImporter, plan: LinuxPlan) {
    super(plan, importer.regions);
    this.memory = importer.memory;
  }
}
