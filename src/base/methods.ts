/** What a value of unknown type can do. Imports nothing: an importer of `crc32` alone needs no more of base/. */

/** True if `value` is an object with a function under each of `names`; a module is one. */
export function hasMethods(value: unknown, names: readonly string[]): value is object {
  return (
    typeof value === "object" &&
    value !== null &&
    names.every((name) => name in value && typeof Reflect.get(value, name) === "function")
  );
}
