/** Resource descriptors, the contents of `_CRS`. Encodings: ACPI 6.5, 6.4, "Resource Data Types for ACPI". */
import type { InterruptLine } from "../../machine/description.js";
import { type Aml, buffer, concat, dword, qword, word } from "./aml.js";

/** `ResourceTemplate () { … }`: the descriptors and the end tag, whose checksum of 0 counts as right (6.4.2.9). */
export const resourceTemplate = (...descriptors: readonly Aml[]): Aml =>
  buffer(concat(...descriptors, [0x79, 0x00]));

/** `IO (Decode16, port, port, 1, length)` (6.4.2.5) */
export const io = (port: number, length: number): Aml => [
  0x47,
  0x01,
  ...word(port),
  ...word(port),
  0x01,
  length,
];

/** `IRQNoFlags () { irq }`: edge-triggered, active high; ISA overrides apply (6.4.2.1). */
export const irq = (number: number): Aml => [0x22, ...word(1 << number)];

/** `Interrupt (ResourceConsumer, …) { line }` (6.4.3.6) */
const extendedInterrupt = ({ line, trigger, polarity }: InterruptLine): Aml => {
  const flags = 0x01 | (trigger === "edge" ? 0x02 : 0) | (polarity === "low" ? 0x04 : 0);
  return [0x89, 0x06, 0x00, flags, 0x01, ...dword(line)];
};

/** A device's interrupt: an ISA IRQ where it is one, as drivers for ISA devices expect it. */
export function interrupt(line: InterruptLine): Aml {
  const isIsa = line.line < 16 && line.trigger === "edge" && line.polarity !== "low";
  return isIsa ? irq(line.line) : extendedInterrupt(line);
}

/** Interrupts of devices that ISA never had. */
export { extendedInterrupt };

/** `Memory32Fixed (ReadWrite, address, length)` below 4 GiB (6.4.3.4), else `QWordMemory (ResourceConsumer, …)`. */
export function fixedMemory(address: bigint, length: number | bigint): Aml {
  const size = BigInt(length);
  if (address + size <= 0x1_0000_0000n)
    return [0x86, 0x09, 0x00, 0x01, ...dword(Number(address)), ...dword(Number(size))];
  return addressSpace(MEMORY, CONSUMER, 0x01, address, address + size);
}

/** Types of address spaces, and general flags: both bounds are fixed; who hands the range on is its producer (6.4.3.5). */
const MEMORY = 0;
const IO = 1;
const BUS = 2;
const PRODUCER = 0x0c;
const CONSUMER = 0x0d;

/** A range `[start, end)`, in the shortest form that holds it. */
function addressSpace(type: number, flags: number, typeFlags: number, start: bigint, end: bigint): Aml {
  const last = end - 1n;
  const head = [type, flags, typeFlags];
  const [tag, field]: [number, (value: bigint) => number[]] =
    type === MEMORY || last > 0xffffn
      ? last > 0xffff_ffffn
        ? [0x8a, qword]
        : [0x87, (value) => dword(Number(value))]
      : [0x88, (value) => word(Number(value))];
  const size = end - start;
  // A word can't hold the length of all ports: 0 to 0xffff is written in 32 bits.
  if (tag === 0x88 && size > 0xffffn) return addressSpaceIn32(head, start, last, size);
  const body = [...head, ...field(0n), ...field(start), ...field(last), ...field(0n), ...field(size)];
  return [tag, ...word(body.length), ...body];
}

function addressSpaceIn32(head: Aml, start: bigint, last: bigint, size: bigint): Aml {
  const fields = [0n, start, last, 0n, size].flatMap((value) => dword(Number(value)));
  return [0x87, ...word(head.length + fields.length), ...head, ...fields];
}

/** Buses `[start, end)` of a root. */
export const busNumbers = (start: number, end: number): Aml =>
  addressSpace(BUS, PRODUCER, 0x00, BigInt(start), BigInt(end));

/** I/O ports `[start, end)` that a root hands out, of ISA and others: "EntireRange". */
export const ioWindow = (start: number, end: number): Aml =>
  addressSpace(IO, PRODUCER, 0x03, BigInt(start), BigInt(end));

/** Memory `[start, end)` that a root hands out. */
export const memoryWindow = (start: bigint, end: bigint, isCacheable: boolean): Aml =>
  addressSpace(MEMORY, PRODUCER, isCacheable ? 0x03 : 0x01, start, end);
