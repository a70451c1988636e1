/**
 * The emulator v86 (npm: v86), started at a kernel's 32-bit entry: no BIOS, no option ROM.
 *
 * v86 has no interface for the state of its processor. This sets the fields that v86's own multiboot loader sets
 * (src/cpu.js, load_multiboot_option_rom) and those that restoring a state sets (set_state). They are internals of the
 * version {@link V86_VERSION}, so all of them are checked before anything changes. The emulator is the caller's; nothing
 * is imported from v86.
 *
 * @module
 */

import { PAGE_BYTES } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { wrongType } from "../base/options.js";
import { GuestMemoryImporter } from "../importers/guest-memory-importer.js";
import { checkLoadOptions } from "../linux/check-options.js";
import type { LinuxPlan } from "../linux/linux-plan.js";
import { planLinux } from "../linux/load-linux.js";
import { LinuxGuest, type X86LinuxGuest } from "../linux/loaded-linux.js";
import type { LoadLinuxOptions } from "../linux/options.js";
import type { RegistersByName } from "../linux/registers.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { applyPlan } from "../plan/apply.js";
import { abortedError } from "../task/run.js";

/** The version of v86 whose internals this module knows. */
export const V86_VERSION = "0.5.462";

/** An instance of v86's class `V86`, as far as it is used here. */
export interface V86Emulator {
  /** Internals; undefined until v86 has compiled its WebAssembly. */
  readonly v86?: unknown;
  /** v86's `add_listener`. */
  add_listener(event: "emulator-loaded" | "download-error", listener: (value: unknown) => void): void;
  /** v86's `remove_listener`. */
  remove_listener(event: "emulator-loaded" | "download-error", listener: (value: unknown) => void): void;
  /** True while the machine runs. */
  is_running(): boolean;
  /** Starts the machine. */
  run(): unknown;
}

/** Options of {@link loadV86} and {@link bootV86}: those of `loadLinux`; the memory is the emulator's. */
export interface V86Options extends Omit<LoadLinuxOptions, "memory"> {}

/** A part of v86's state: a typed array, or a stand-in for one (lib.js, view), anew over its memory at each access. */
interface Numbers {
  [index: number]: number;
}

/** Indices in v86's arrays of segments (const.js, REG_ES …): 0-5 as x86 encodes them, then the task register. */
const V86_SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs", "tr"] as const;
/** Indices in v86's general registers (const.js, REG_EAX …), as x86 encodes them. */
const V86_GENERAL = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] as const;

// Bits of a segment's attributes (SDM 3A, 3.4.5): those of a descriptor from bit 40 on.
const ACCESS_BYTE = 0xff;
const DPL_SHIFT = 5;
const DPL_MASK = 3;
const DEFAULT_32 = 1 << 14;
/** CR0.PE (SDM 3A, 2.5). */
const CR0_PE = 1n;

/** The arrays of numbers that are set, each with how many elements of it. */
const CPU_ARRAYS = {
  cr: 5,
  ...{ protected_mode: 1, flags: 1, flags_changed: 1, cpl: 1, in_hlt: 1, instruction_pointer: 1 },
  ...{ is_32: 1, stack_size_32: 1, tss_size_32: 1 },
  ...{ gdtr_offset: 1, gdtr_size: 1, idtr_offset: 1, idtr_size: 1 },
  segment_is_null: V86_SEGMENTS.length,
  segment_offsets: V86_SEGMENTS.length,
  segment_limits: V86_SEGMENTS.length,
  segment_access_bytes: V86_SEGMENTS.length,
  sreg: V86_SEGMENTS.length,
  reg32: V86_GENERAL.length,
};
const CPU_METHODS = ["full_clear_tlb", "jit_clear_cache", "update_state_flags"] as const;

/** v86's processor, as far as it is used. The methods make it forget what it keeps of memory and state. */
type V86Cpu = Readonly<
  Record<keyof typeof CPU_ARRAYS, Numbers> & Record<(typeof CPU_METHODS)[number], () => void>
>;

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isNumbers(value: unknown, length: number): value is Numbers {
  if (!isObject(value)) return false;
  for (let i = 0; i < length; i++) if (typeof value[i] !== "number") return false;
  return true;
}

/** The error for an internal of another kind than wanted. */
function otherwise(field: string, value: unknown, wanted: string): DirectBootError {
  return new DirectBootError(
    "V86_INTERNALS",
    `emulator.v86.${field} is ${describeType(value)}, v86 ${V86_VERSION} has ${wanted} there`,
  );
}

type Fields = Readonly<Record<string, unknown>>;

function cpuFields(emulator: V86Emulator): Fields {
  if (!isObject(emulator)) throw wrongType("emulator", "a V86 of v86", emulator);
  const cpu = isObject(emulator.v86) ? emulator.v86["cpu"] : undefined;
  if (!isObject(cpu)) throw otherwise("cpu", cpu, "its processor");
  return cpu;
}

/** Bytes of guest RAM, 0 before the emulator has made it. */
function ramBytesOf({ memory_size }: Fields): number {
  if (!isNumbers(memory_size, 1)) throw otherwise("cpu.memory_size[0]", undefined, "a number of bytes");
  return memory_size[0] ?? 0;
}

function checkCpu(cpu: Fields): asserts cpu is V86Cpu {
  for (const name of CPU_METHODS) {
    if (typeof cpu[name] !== "function") throw otherwise(`cpu.${name}`, cpu[name], "a function");
  }
  for (const [name, count] of Object.entries(CPU_ARRAYS)) {
    if (!isNumbers(cpu[name], count)) throw otherwise(`cpu.${name}`, cpu[name], `${count} numbers`);
  }
}

/** Checks every part that is used. Throws V86_INTERNALS for the first that is missing or of another kind. */
function inspect(emulator: V86Emulator): { readonly cpu: V86Cpu; readonly memory: GuestMemory } {
  const cpu = cpuFields(emulator);
  const { wasm_memory: memory, mem8 } = cpu;
  if (!(memory instanceof WebAssembly.Memory)) {
    throw otherwise("cpu.wasm_memory", memory, "a WebAssembly.Memory");
  }
  const byteLength = ramBytesOf(cpu);
  const byteOffset = isObject(mem8) && mem8["byteLength"] === byteLength ? mem8["byteOffset"] : undefined;
  if (typeof byteOffset !== "number") {
    throw otherwise("cpu.mem8", mem8, `a view of ${byteLength} bytes of guest RAM`);
  }
  checkCpu(cpu);
  return { cpu, memory: GuestMemory.attach(memory, [{ guestPhysicalAddress: 0, byteOffset, byteLength }]) };
}

/** Waits until the emulator has made its machine: "emulator-loaded". */
async function loaded(emulator: V86Emulator, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted === true) throw abortedError("the load", signal);
  // v86 and the processor are there first, then, all in one go, the RAM and the devices.
  if (emulator.v86 !== undefined && ramBytesOf(cpuFields(emulator)) > 0) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: DirectBootError): void => {
      emulator.remove_listener("emulator-loaded", onLoaded);
      emulator.remove_listener("download-error", onError);
      signal?.removeEventListener("abort", onAbort);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onLoaded = (): void => settle();
    const onError = (event: unknown): void => {
      const name = isObject(event) ? event["file_name"] : undefined;
      const file = typeof name === "string" ? name : "one of its files";
      settle(new DirectBootError("V86_DOWNLOAD", `v86 could not load ${file}`));
    };
    const onAbort = (): void => settle(signal && abortedError("the load", signal));
    emulator.add_listener("emulator-loaded", onLoaded);
    emulator.add_listener("download-error", onError);
    signal?.addEventListener("abort", onAbort);
  });
}

function checkStopped(emulator: V86Emulator): void {
  if (emulator.is_running()) {
    throw new DirectBootError("V86_RUNNING", "the machine runs, a kernel is loaded into one that does not");
  }
}

/** Throws V86_UNSUPPORTED unless v86 has a processor for that kernel. */
function checkPlan({ architecture, entryMode }: LinuxPlan): void {
  if (architecture === "i386" && entryMode === "protected32") return;
  throw new DirectBootError(
    "V86_UNSUPPORTED",
    `the kernel is for ${architecture} and is entered as ${entryMode}; v86 has a 32-bit x86 processor`,
  );
}

/** Sets the processor to the registers of a plan; one that the plan does not set is zero. */
function setRegisters(cpu: V86Cpu, registers: RegistersByName): void {
  // v86's arrays take the low 32 bits, signed or not.
  const low32 = (value: bigint | undefined): number => Number(BigInt.asIntN(32, value ?? 0n));
  const flag = (isSet: boolean): number => (isSet ? 1 : 0);
  const { cs, ss, tr, gdtr, idtr, cr0 = 0n, rflags } = registers;

  cpu.cr[0] = low32(cr0);
  cpu.cr[2] = 0;
  cpu.cr[3] = low32(registers.cr3);
  cpu.cr[4] = low32(registers.cr4);
  cpu.protected_mode[0] = flag((cr0 & CR0_PE) !== 0n);
  cpu.flags[0] = low32(rflags);
  // The arithmetic flags are those in `flags`, not what an instruction before would leave.
  cpu.flags_changed[0] = 0;
  for (const [index, name] of V86_SEGMENTS.entries()) {
    const segment = registers[name];
    cpu.segment_is_null[index] = flag(segment === undefined);
    cpu.segment_offsets[index] = low32(segment?.base);
    cpu.segment_limits[index] = segment?.limit ?? 0;
    cpu.segment_access_bytes[index] = (segment?.attributes ?? 0) & ACCESS_BYTE;
    cpu.sreg[index] = segment?.selector ?? 0;
  }
  const is32 = (attributes = 0): number => flag((attributes & DEFAULT_32) !== 0);
  cpu.is_32[0] = is32(cs?.attributes);
  cpu.stack_size_32[0] = is32(ss?.attributes);
  // The size of a TSS is bit 3 of its type (SDM 3A, table 3-2).
  cpu.tss_size_32[0] = flag(((tr?.attributes ?? 0) & 8) !== 0);
  cpu.cpl[0] = ((ss?.attributes ?? 0) >> DPL_SHIFT) & DPL_MASK;
  cpu.gdtr_offset[0] = low32(gdtr?.base);
  cpu.gdtr_size[0] = gdtr?.limit ?? 0;
  cpu.idtr_offset[0] = low32(idtr?.base);
  cpu.idtr_size[0] = idtr?.limit ?? 0;
  for (const [index, name] of V86_GENERAL.entries()) cpu.reg32[index] = low32(registers[name]);
  // A linear address in v86: the base of CS is in it.
  cpu.instruction_pointer[0] = low32((cs?.base ?? 0n) + (registers.rip ?? 0n));
  cpu.in_hlt[0] = 0;
  for (const method of CPU_METHODS) cpu[method]();
}

/**
 * The RAM of an emulator whose machine is made ("emulator-loaded"), in place. Use it while the machine does not run: v86
 * does not see what is written, and goes on with code that it has translated.
 *
 * @throws DirectBootError V86_INTERNALS if this is not the v86 that is known
 */
export function v86Memory(emulator: V86Emulator): GuestMemory {
  return inspect(emulator).memory;
}

/**
 * Loads a 32-bit kernel into the RAM of a v86 machine, and sets the processor to the kernel's entry; `emulator.run()`
 * starts it. Waits until the emulator is loaded.
 *
 * Bytes are read straight into the emulator's RAM; the caller's buffers are never changed. The machine must be a new one
 * that has not run, made with `autostart: false`, without `bzimage`, `multiboot` or `initial_state`; it needs no `bios`.
 *
 * @returns what lies where, and the memory
 * @throws DirectBootError V86_UNSUPPORTED for a kernel that v86 has no processor for; V86_INTERNALS for another version
 *   of v86; V86_RUNNING; V86_DOWNLOAD; ABORTED; and what `loadLinux` throws. RAM and registers are then as before, unless
 *   a source broke midway: then what had been written is zero.
 *
 * @example
 * ```ts
 * import { V86 } from "v86";
 * import { loadV86 } from "directboot/v86";
 *
 * const emulator = new V86({
 *   wasm_path: "node_modules/v86/build/v86.wasm",
 *   memory_size: 256 * 1024 * 1024,
 *   autostart: false,
 * });
 * const guest = await loadV86(emulator, { kernel: "vmlinuz-i386", commandLine: "console=ttyS0" });
 * console.log(guest.entryMode, guest.registers.rip.toString(16)); // protected32 1000000
 * // emulator.run() starts it.
 * await emulator.destroy();
 * ```
 */
export async function loadV86(emulator: V86Emulator, options: V86Options): Promise<X86LinuxGuest> {
  if (typeof emulator?.add_listener !== "function" || typeof emulator.is_running !== "function") {
    throw new TypeError(`emulator must be an instance of V86, got ${describeType(emulator)}`);
  }
  if (typeof options === "object" && options !== null && Reflect.get(options, "memory") !== undefined) {
    throw new TypeError("memory is the emulator's: give memory_size to V86, and no memory here");
  }
  checkLoadOptions({ ...options, memory: PAGE_BYTES });
  const { signal, onProgress } = options;
  await loaded(emulator, signal);
  checkStopped(emulator);
  const { cpu, memory } = inspect(emulator);
  const claim = memory.claim();
  let plan: LinuxPlan;
  try {
    plan = await planLinux({ ...options, memory });
  } finally {
    claim.release();
  }
  try {
    checkPlan(plan);
    // The caller may have gone on while the plan was made.
    checkStopped(emulator);
    const importer = new GuestMemoryImporter(memory, { crc32: options.crc32 });
    await applyPlan(plan, importer, { onProgress, signal });
    checkStopped(emulator);
    const guest = new LinuxGuest(importer, plan);
    setRegisters(cpu, guest.registers);
    return guest as X86LinuxGuest;
  } finally {
    plan.close();
  }
}

/**
 * The same as {@link loadV86}, and starts the machine.
 *
 * @example
 * ```ts
 * import { V86 } from "v86";
 * import { bootV86 } from "directboot/v86";
 *
 * const emulator = new V86({
 *   wasm_path: "node_modules/v86/build/v86.wasm",
 *   memory_size: 256 * 1024 * 1024,
 *   autostart: false,
 * });
 * emulator.add_listener("serial0-output-byte", (byte: number) => process.stdout.write(String.fromCharCode(byte)));
 * await bootV86(emulator, { kernel: "vmlinuz-i386", commandLine: "console=ttyS0" });
 * console.log(emulator.is_running()); // true
 * await emulator.destroy();
 * ```
 */
export async function bootV86(emulator: V86Emulator, options: V86Options): Promise<X86LinuxGuest> {
  const guest = await loadV86(emulator, options);
  await emulator.run();
  return guest;
}
