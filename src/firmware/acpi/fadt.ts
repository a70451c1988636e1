/** FADT, the Fixed ACPI Description Table (ACPI 6.5, 5.2.9), full or hardware-reduced; FACS beside it (5.2.10). */
import { cpusOf, type ResetRegister, type X86Machine, type X86Power } from "../../machine/description.js";
import { TableWriter } from "../table-writer.js";
import { SYSTEM_IO, SYSTEM_MEMORY, table } from "./table.js";

/** Revision 6.3: 276 bytes. */
const FADT_REVISION = 6;
const FADT_MINOR = 3;

/** Flags (table 5.10). */
const WBINVD = 1 << 0;
const PROC_C1 = 1 << 2;
/** No sleep button among the fixed registers. */
const SLP_BUTTON = 1 << 5;
const RTC_S4 = 1 << 7;
const RESET_REG_SUP = 1 << 10;
const USE_PLATFORM_CLOCK = 1 << 15;
const FORCE_APIC_CLUSTER_MODEL = 1 << 18;
const HW_REDUCED_ACPI = 1 << 20;
/** CPUs that the flat model of logical interrupt destinations holds (Intel SDM 3A, 11.6.2.2). */
const MOST_FLAT_CPUS = 8;

/** IAPC_BOOT_ARCH (table 5.11). */
const BOOT_8042 = 1 << 1;
const BOOT_NO_CMOS_RTC = 1 << 5;

/** Latencies above which the states C2 and C3 count as absent (table 5.9: 100 and 1000 µs), as QEMU writes them. */
const NO_C_STATE = 0xfff;

const NO_PM1: Omit<Extract<X86Power, { type: "pm1" }>, "type" | "s5"> = {
  eventPort: 0,
  controlPort: 0,
  sci: 0,
};

function flags(machine: X86Machine): number {
  const { timers, power } = machine;
  const reset = power?.reset === undefined ? 0 : RESET_REG_SUP;
  if (power?.type === "reduced") return reset | HW_REDUCED_ACPI;
  const hasClock = timers.hpet !== undefined || timers.pmTimer !== undefined;
  const isClustered = cpusOf(machine).length > MOST_FLAT_CPUS;
  const always = WBINVD | PROC_C1 | SLP_BUTTON | RTC_S4 | reset;
  return always | (hasClock ? USE_PLATFORM_CLOCK : 0) | (isClustered ? FORCE_APIC_CLUSTER_MODEL : 0);
}

function writeReset(out: TableWriter, reset: ResetRegister | undefined): void {
  if (reset === undefined) {
    out.zeros(13);
    return;
  }
  const space = reset.space === "io" ? SYSTEM_IO : SYSTEM_MEMORY;
  out.address(space, 8, BigInt(reset.address)).u8(reset.value);
}

/** An I/O block as a generic address; one of no ports is all zero. */
function writeBlock(out: TableWriter, port: number, length: number): void {
  if (length === 0) out.zeros(12);
  else out.address(SYSTEM_IO, length * 8, BigInt(port));
}

/** The low 32 bits of an address that lies below 4 GiB; else 0, and only the 64-bit field has it. */
const low = (address: bigint): number => (address >> 32n === 0n ? Number(address) : 0);

/** The FADT for a DSDT and a FACS (0: there is none) at their addresses. */
export function buildFadt(machine: X86Machine, dsdt: bigint, facs: bigint): Uint8Array {
  const { power, timers, rtc, i8042 } = machine;
  const pm = power?.type === "pm1" ? power : NO_PM1;
  const { gpe0 = { port: 0, length: 0 }, smi = { port: 0, enable: 0, disable: 0 } } = pm;
  const [eventLength, controlLength] = power?.type === "pm1" ? [4, 2] : [0, 0];
  const pmTimer = power?.type === "reduced" ? undefined : timers.pmTimer;
  const [timerPort, timerLength] = pmTimer === undefined ? [0, 0] : [pmTimer, 4];
  const noCState = power?.type === "reduced" ? 0 : NO_C_STATE;
  const out = new TableWriter();
  // Of the two FACS fields one is used, of the two DSDT fields either.
  out.u32(low(facs)).u32(low(dsdt)).u8(0, 0).u16(pm.sci);
  out.u32(smi.port).u8(smi.enable, smi.disable, 0, 0);
  out.u32(pm.eventPort).u32(0).u32(pm.controlPort).u32(0).u32(0).u32(timerPort).u32(gpe0.port).u32(0);
  out.u8(eventLength, controlLength, 0, timerLength, gpe0.length, 0, 0, 0);
  out.u16(noCState).u16(noCState).zeros(6);
  out.u8(0, 0, rtc?.type === "cmos" ? (rtc.century ?? 0) : 0);
  out.u16((i8042 === undefined ? 0 : BOOT_8042) | (rtc === undefined ? BOOT_NO_CMOS_RTC : 0)).u8(0);
  out.u32(flags(machine));
  writeReset(out, power?.reset);
  out.u16(0).u8(FADT_MINOR);
  out.u64(low(facs) === 0 ? facs : 0n).u64(dsdt);
  writeBlock(out, pm.eventPort, eventLength);
  out.zeros(12);
  writeBlock(out, pm.controlPort, controlLength);
  out.zeros(24);
  writeBlock(out, timerPort, timerLength);
  writeBlock(out, gpe0.port, gpe0.length);
  out.zeros(12);
  if (power?.type === "reduced") {
    out
      .address(SYSTEM_MEMORY, 8, BigInt(power.sleepControl))
      .address(SYSTEM_MEMORY, 8, BigInt(power.sleepStatus));
  } else out.zeros(24);
  // Hypervisor vendor identity: none.
  out.zeros(8);
  return table("FACP", FADT_REVISION, out.toBytes());
}

/** FACS: 64 bytes at a multiple of 64, with no wake vector and no global lock held. It has no checksum. */
export function buildFacs(): Uint8Array {
  return new TableWriter().ascii("FACS").u32(64).zeros(24).u8(2).zeros(31).toBytes();
}
