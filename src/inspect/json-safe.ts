/** JSON for plain data with bigint addresses, which JSON has no form for. */
import { hex } from "../base/address.js";

/**
 * The same object, which `JSON.stringify` writes with hex strings in place of its bigints, and without its functions.
 * Its `toJSON` is not enumerable: copies and messages to workers carry the data alone.
 */
export function jsonSafe<T extends object>(data: T): T {
  return Object.defineProperty(data, "toJSON", {
    enumerable: false,
    value: (): unknown =>
      Object.fromEntries(
        Object.entries(data)
          .filter(([, value]) => typeof value !== "function")
          .map(([key, value]: [string, unknown]) => [key, typeof value === "bigint" ? hex(value) : value]),
      ),
  });
}
