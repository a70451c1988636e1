/** A global descriptor table, entry by entry. */
import { hex } from "../base/address.js";
import { describeRegister } from "./describe-register.js";
import { viewOf } from "./e820-table.js";
import type { RegisterField } from "./register-fields.js";

/** An entry of a GDT, described; numbers are hex strings. All of it is plain data. */
export interface GdtEntry {
  readonly index: number;
  /** Names the entry, at privilege level 0. */
  readonly selector: string;
  /** The descriptor, as one number. */
  readonly value: string;
  readonly base: string;
  /** The last byte of the segment, counted from its base. */
  readonly limit: string;
  /** In words, such as "64-bit code, execute/read, accessed". */
  readonly meaning: string;
  /** As those of a segment register that is loaded from the entry: selector, base, limit and attributes. */
  readonly fields: readonly RegisterField[];
}

const DESCRIPTOR_BYTES = 8;
const ATTRIBUTE_PAGES = 1 << 15;

function meaningOf(value: bigint, fields: readonly RegisterField[]): string {
  if (value === 0n) return "no segment";
  const isSet = (bit: string): boolean => fields.some((field) => field.name === bit && field.value === "0x1");
  const type = fields.find(({ name }) => name === "Type")?.meaning ?? "";
  const isLong = type.startsWith("code") && isSet("L");
  const bits = isLong ? "64-bit " : isSet("D/B") ? "32-bit " : "16-bit ";
  return `${isSet("S") ? bits : ""}${type}${isSet("P") ? "" : ", not present"}`;
}

/** Takes a descriptor apart: Intel SDM, volume 3A, figure 3-8. */
function describeDescriptor(value: bigint, index: number): GdtEntry {
  const base = ((value >> 16n) & 0xff_ffffn) | (((value >> 56n) & 0xffn) << 24n);
  // Bits 8 to 11 of its upper half are of the limit.
  const attributes = Number((value >> 40n) & 0xf0ffn);
  const units = (value & 0xffffn) | (((value >> 48n) & 0xfn) << 16n);
  const limit = (attributes & ATTRIBUTE_PAGES) === 0 ? units : (units << 12n) | 0xfffn;
  const selector = index * DESCRIPTOR_BYTES;
  const segment = { base, limit: Number(limit), selector, attributes };
  const { fields } = describeRegister({ name: "cs", value: segment });
  return {
    index,
    selector: hex(selector),
    value: `0x${value.toString(16).padStart(16, "0")}`,
    base: hex(base),
    limit: hex(limit),
    meaning: meaningOf(value, fields),
    fields,
  };
}

/**
 * The entries of a global descriptor table, each of 8 bytes, as 32-bit and compatibility mode have them.
 *
 * @param table the bytes that GDTR names: `limit + 1` from its base on; a rest of fewer than 8 is no entry
 *
 * @example
 * ```ts
 * import { loadLinuxSync } from "directboot";
 * import { describeGdt } from "directboot/inspect";
 *
 * const guest = loadLinuxSync({ kernel: "vmlinux", memory: 64 * 1024 * 1024 });
 * if (guest.architecture !== "aarch64") {
 *   const { base, limit } = guest.registers.gdtr;
 *   console.log(describeGdt(guest.memory.read(base, limit + 1))[1]?.meaning); // 64-bit code, execute/read, accessed
 * }
 * ```
 */
export function describeGdt(table: Uint8Array): GdtEntry[] {
  const view = viewOf(table);
  return Array.from({ length: Math.floor(view.byteLength / DESCRIPTOR_BYTES) }, (_, index) =>
    describeDescriptor(view.getBigUint64(index * DESCRIPTOR_BYTES, true), index),
  );
}
