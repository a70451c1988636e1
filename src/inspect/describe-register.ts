/** A register in words: its fields bit by bit, and the boot protocol's demand on it. */
import { hex } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { meaningOf } from "../base/field-meaning.js";
import type { VpRegister } from "../importers/importer.js";
import { arm64Register } from "./arm64-register-fields.js";
import { describeFields, type RegisterField } from "./register-fields.js";
import { x86PartsRegister, x86ValueRegister } from "./x86-register-fields.js";

/** A register, described. All of it is plain data. */
export interface RegisterDescription {
  /** As `registers` has it: "cr0", "sctlrEl1". */
  readonly name: string;
  /** As its manual has it: "CR0", "SCTLR_EL1". */
  readonly title: string;
  /** A hex string; of a register of several parts, the parts in one line. */
  readonly value: string;
  /** The boot protocol's demand on it. */
  readonly role: string;
  /** Where its layout is from: manual, volume, section. */
  readonly source: string;
  /** Highest bit first; of a register of several parts, part after part. Empty for a plain number. */
  readonly fields: readonly RegisterField[];
}

/**
 * Describes a register of a plan or a loaded guest.
 *
 * @example
 * ```ts
 * import { loadLinuxSync } from "directboot";
 * import { describeRegister } from "directboot/inspect";
 *
 * const guest = loadLinuxSync({ kernel: "vmlinuz", memory: 64 * 1024 * 1024 });
 * const descriptions = guest.registerList.map(describeRegister);
 * console.log(descriptions.find(({ name }) => name === "cr0")?.role); // 64-bit entry: paging must be on (boot.rst)
 * ```
 */
export function describeRegister(register: VpRegister): RegisterDescription {
  const { name, value } = register ?? {};
  if (typeof value !== "bigint" && (typeof value !== "object" || value === null)) {
    throw new TypeError(
      `register must be one of a plan's or a guest's registerList, with a name and a value, got ${describeType(register)}`,
    );
  }
  if (typeof value !== "bigint") {
    const { parts, ...words } = x86PartsRegister(name, value);
    return {
      name,
      ...words,
      value: parts.map(([part, , number]) => `${part} ${hex(number)}`).join(", "),
      fields: parts.flatMap(([part, rows, number]) => describeFields(rows, number, part)),
    };
  }
  const definition = x86ValueRegister(name) ?? arm64Register(name);
  if (definition === undefined) {
    return { name, title: name, value: hex(value), role: "", source: "", fields: [] };
  }
  const { title, source, role, fields } = definition;
  return {
    name,
    title,
    value: hex(value),
    role: meaningOf(role, value),
    source,
    // A plain number has no fields, and no bits that are reserved.
    fields: fields.length === 0 ? [] : describeFields(fields, value, "value"),
  };
}
