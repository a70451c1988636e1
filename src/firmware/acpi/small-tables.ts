/** MCFG, HPET and SPCR: one place each for what Linux needs before it reads the DSDT. */

import { gsiOfIrq } from "../../machine/check-machine.js";
import { ALL_BUSES, type SerialPort, type X86Machine } from "../../machine/description.js";
import { TableWriter } from "../table-writer.js";
import { SYSTEM_IO, SYSTEM_MEMORY, table } from "./table.js";

/** Enhanced configuration spaces (PCI Firmware Specification 3.3, 4.1.2); nothing where no root has one. */
export function buildMcfg({ pci = [] }: X86Machine): Uint8Array | undefined {
  const out = new TableWriter().zeros(8);
  for (const { ecam, segment = 0, buses = ALL_BUSES } of pci) {
    if (ecam === undefined) continue;
    // The address that bus 0 has, or would have.
    const base = BigInt(ecam) - BigInt(buses.start) * 0x10_0000n;
    out
      .u64(base)
      .u16(segment)
      .u8(buses.start, buses.end - 1)
      .zeros(4);
  }
  return out.byteLength === 8 ? undefined : table("MCFG", 1, out.toBytes());
}

/** Intel's vendor id, 64-bit counter, 3 comparators, revision 1: QEMU's, and those of ICH9. */
const HPET_ID = 0x8086_a201;

/** The HPET (IA-PC HPET Specification 1.0a, 3.2.4); nothing where there is none. */
export function buildHpet({ timers: { hpet } }: X86Machine): Uint8Array | undefined {
  if (hpet === undefined) return undefined;
  const out = new TableWriter().u32(hpet.id ?? HPET_ID);
  out.address(SYSTEM_MEMORY, 0, BigInt(hpet.address)).u8(0).u16(0).u8(0);
  return table("HPET", 1, out.toBytes());
}

/** SPCR revision 2: a 16550, entirely compatible, or one at any generic address. */
const SPCR_16550 = 0;
const SPCR_BAUD_115200 = 7;
const SPCR_VT_UTF8 = 1;
/** Interrupt types: an 8259 IRQ, an I/O APIC GSI. */
const SPCR_IRQ = 1;
const SPCR_GSI = 2;

function isByPort(port: SerialPort): port is Extract<SerialPort, { port: number }> {
  return "port" in port;
}

/** Where the first serial port is (Microsoft's Serial Port Console Redirection Table); nothing where there is none. */
export function buildSpcr(machine: X86Machine): Uint8Array | undefined {
  const [port] = machine.serial ?? [];
  if (port === undefined) return undefined;
  const out = new TableWriter().u8(SPCR_16550, 0, 0, 0);
  if (isByPort(port)) out.address(SYSTEM_IO, 8, BigInt(port.port));
  else out.address(SYSTEM_MEMORY, 8, BigInt(port.address));
  const line = port.interrupt?.line;
  const isIsa = line !== undefined && line < 16 && gsiOfIrq(machine, line) === line;
  out.u8((isIsa ? SPCR_IRQ : 0) | (line === undefined ? 0 : SPCR_GSI), isIsa ? line : 0).u32(line ?? 0);
  // 8 data bits, no parity, one stop bit, no flow control.
  out.u8(SPCR_BAUD_115200, 0, 1, 0, SPCR_VT_UTF8, 0);
  // The port is no PCI device.
  out.u16(0xffff).u16(0xffff).u8(0, 0, 0).u32(0).u8(0).u32(0);
  return table("SPCR", 2, out.toBytes());
}
