/** What plans and loaded guests have in common: for whom they are, and registers by name. */
import { hex } from "../base/address.js";
import type { Aarch64Register, VpRegister, X86Register } from "../importers/importer.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import type { LoadInfo } from "../plan/load-info.js";
import type { EntryMode, GuestArchitecture } from "../plan/planned-guest.js";
import type { Decompression } from "../unpack/kernel-file.js";

/** The guest that a plan or the result of a load is for. */
export class GuestFacts {
  /** The processor that the guest must have. */
  readonly architecture: GuestArchitecture;
  /** The state that the registers start the processor in. */
  readonly entryMode: EntryMode;
  /** Where kernel, initrd and device tree lie, and the entry point. */
  readonly info: LoadInfo;
  /** The RAM that it is planned or loaded for. */
  readonly layout: MemoryLayout;
  /** How the kernel is compressed, and who decompresses it; undefined if it is not. */
  readonly decompression: Decompression | undefined;

  constructor({ architecture, entryMode, info, layout, decompression }: GuestFacts) {
    this.architecture = architecture;
    this.entryMode = entryMode;
    this.info = info;
    this.layout = layout;
    this.decompression = decompression;
  }
}

/** The first entries of a result's JSON. */
export function factsToJSON({ architecture, entryMode, layout, decompression }: GuestFacts): object {
  return { architecture, entryMode, ram: layout, ...(decompression && { decompression }) };
}

/** Values of registers of either architecture by name; one that was not set is undefined, and zero in the guest. */
export type RegistersByName = { readonly [R in X86Register | Aarch64Register as R["name"]]?: R["value"] };

/** Registers that every entry of an x86 kernel sets. */
type AlwaysSet = "rip" | "cr0" | "gdtr" | "cs" | "ds" | "es" | "ss";

/** An x86 processor's registers by name; one that was not set is undefined, and zero in the guest. */
export type X86Registers = { readonly [R in X86Register as Exclude<R["name"], AlwaysSet>]?: R["value"] } & {
  readonly [R in X86Register as Extract<R["name"], AlwaysSet>]: R["value"];
};

/** An arm64 processor's registers by name; one that was not set is undefined, and zero in the guest. */
export type Aarch64Registers = {
  readonly [R in Aarch64Register as Exclude<R["name"], "pc">]?: R["value"];
} & { readonly pc: bigint };

/** A result for an x86 processor. */
export interface ForX86 {
  readonly architecture: Exclude<GuestArchitecture, "aarch64">;
  readonly entryMode: Exclude<EntryMode, "aarch64">;
  readonly registers: X86Registers;
}

/** A result for an arm64 processor. */
export interface ForArm64 {
  readonly architecture: "aarch64";
  readonly entryMode: "aarch64";
  readonly registers: Aarch64Registers;
}

/** The record of a list of registers. Every plan of ours sets rip or pc. */
export function byName(registers: readonly VpRegister[]): X86Registers | Aarch64Registers {
  return Object.fromEntries(registers.map(({ name, value }) => [name, value])) as
    | X86Registers
    | Aarch64Registers;
}

/** A register's value with hex strings in place of numbers, as in an export's manifest. */
export function registerToJSON({ value }: VpRegister): string | Record<string, string> {
  if (typeof value === "bigint") return hex(value);
  return Object.fromEntries(
    Object.entries(value).map(([field, number]: [string, number | bigint]) => [field, hex(number)]),
  );
}

/** Registers by name, in the same form. */
export function registersToJSON(registers: readonly VpRegister[]): Record<string, unknown> {
  return Object.fromEntries(registers.map((register) => [register.name, registerToJSON(register)]));
}
