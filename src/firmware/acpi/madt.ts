/** MADT, the Multiple APIC Description Table (ACPI 6.5, 5.2.12). */
import { cpusOf, type InterruptOverride, type X86Machine } from "../../machine/description.js";
import { TableWriter } from "../table-writer.js";
import { table } from "./table.js";

/** Revision of ACPI 6.3. */
const REVISION = 5;

/** Flags of the table: there are 8259A, too. */
const PCAT_COMPAT = 1;
/** Flags of a processor: it is enabled. */
const ENABLED = 1;
/** UID of all processors in a structure with 8 bits, and with 32 bits, for it. */
const ALL_PROCESSORS = 0xff;
const ALL_PROCESSORS_32 = 0xffff_ffff;
/** APIC ids from here on, and UIDs that 8 bits do not hold, take the x2APIC structure. */
const XAPIC_END = 255;

/** MPS INTI flags (table 5.26): polarity in bits 0-1, trigger in bits 2-3; 0 is as the bus has it. */
export function intiFlags({ trigger, polarity }: Pick<InterruptOverride, "trigger" | "polarity">): number {
  const polarityBits = polarity === undefined ? 0 : polarity === "high" ? 1 : 3;
  const triggerBits = trigger === undefined ? 0 : trigger === "edge" ? 1 : 3;
  return polarityBits | (triggerBits << 2);
}

export function buildMadt(machine: X86Machine): Uint8Array {
  const { localApic = 0xfee0_0000, nmiPin = 1, ioApics, overrides = [], pic } = machine.interrupts;
  const out = new TableWriter().u32(Number(localApic)).u32(pic ? PCAT_COMPAT : 0);
  let hasX2Apic = false;
  for (const [uid, { id }] of cpusOf(machine).entries()) {
    const apicId = Number(id);
    if (apicId < XAPIC_END && uid < XAPIC_END) out.u8(0, 8, uid, apicId).u32(ENABLED);
    else {
      hasX2Apic = true;
      out.u8(9, 16).u16(0).u32(apicId).u32(ENABLED).u32(uid);
    }
  }
  for (const { id, address, gsiBase } of ioApics) out.u8(1, 12, id, 0).u32(Number(address)).u32(gsiBase);
  for (const override of overrides) {
    out.u8(2, 10, 0, override.irq).u32(override.gsi).u16(intiFlags(override));
  }
  out.u8(4, 6, ALL_PROCESSORS).u16(0).u8(nmiPin);
  if (hasX2Apic) out.u8(10, 12).u16(0).u32(ALL_PROCESSORS_32).u8(nmiPin, 0, 0, 0);
  return table("APIC", REVISION, out.toBytes());
}
