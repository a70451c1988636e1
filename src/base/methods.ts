/** What a value of unknown type can do. Imports nothing: an importer of `crc32` alone needs no more of base/. */

/** True if `value` has a function under each of `names`: an object, a module, a proxy, a class with static methods. */
export function hasMethods(value: unknown, names: readonly string[]): value is object {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  return names.every((name) => typeof Reflect.get(value, name) === "function");
}
