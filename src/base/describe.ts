/** Values of unknown type: what they are, in words, and what they can do. Imports nothing, so that `crc32` alone stays small. */

/** A class's own name: a bundler calls a class that names itself, `GuestMemory`, `_GuestMemory`. */
function plainName(name: string): string {
  return name.replace(/^_/, "");
}

/** Names the type of `value`, for the message of a TypeError. */
export function describeType(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number" || typeof value === "boolean") return `${value}`;
  if (typeof value === "string") return `the string ${JSON.stringify(value.slice(0, 60))}`;
  if (typeof value !== "object") return typeof value;
  if ("then" in value) return "a promise, which has to be awaited";
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? plainName(name) : "an object";
}

/**
 * The same, for a value that is no instance of our classes. One with a class of the same name most likely comes from
 * another copy of directboot, whose private fields ours can't see.
 */
export function describeForeign(value: unknown, ours: readonly { readonly name: string }[]): string {
  const described = describeType(value);
  const isCopy = typeof value === "object" && ours.some(({ name }) => plainName(name) === described);
  return isCopy ? `a ${described} that is not of this copy of directboot: take all from one copy` : described;
}

/** The message of a thrown value, which need not be an Error, nor convert to a string. */
export function messageOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return "something without a text was thrown";
  }
}

/** True if `value` has a function under each of `names`: an object, a module, a proxy, a class with static methods. */
export function hasMethods(value: unknown, names: readonly string[]): value is object {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  return names.every((name) => typeof Reflect.get(value, name) === "function");
}
