/** Words for values of any type. Imports nothing: an importer of `crc32` alone needs no more of base/. */

/** What `value` is, for the message of a TypeError. */
export function describeType(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return `${value}`;
  if (typeof value === "string") return `the string ${JSON.stringify(value.slice(0, 60))}`;
  if (typeof value !== "object") return typeof value;
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? name : "an object";
}

/**
 * The same, for what is no instance of a class of ours: one of the same name comes from another copy of directboot, most
 * likely, whose private fields ours can't see.
 */
export function describeForeign(value: unknown, ours: readonly { readonly name: string }[]): string {
  const described = describeType(value);
  const isCopy = typeof value === "object" && ours.some(({ name }) => name === described);
  return isCopy ? `a ${described} that is not of this copy of directboot: take all from one copy` : described;
}

/** What anything that was thrown says; anybody may throw anything, also what has no text. */
export function messageOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return "something without a text was thrown";
  }
}
