/** Checks of options, as tables: an object is checked by the checks of its fields. Each error names the option by its path. */
import { type AddressLike, toAddress, toLength } from "./address.js";
import { describeType, hasMethods } from "./describe.js";

/** Throws TypeError for a value that is not wanted; `path` names it, as in "addresses.initrd". */
export type Check = (value: unknown, path: string) => void;

/** The checks of an object's fields. */
export type Checks<Names extends string = string> = { readonly [Name in Names]: Check };

/** The error for `value` at `path`. */
export function wrongType(path: string, wanted: string, value: unknown): TypeError {
  return new TypeError(`${path} must be ${wanted}, got ${describeType(value)}`);
}

/** A value that `test` is true for. */
export function is(wanted: string, test: (value: unknown) => boolean): Check {
  return (value, path) => {
    if (!test(value)) throw wrongType(path, wanted, value);
  };
}

/** One of the strings. */
export function oneOf(...values: readonly string[]): Check {
  const names = values.map((value) => JSON.stringify(value));
  const wanted = names.length < 3 ? names.join(" or ") : `one of ${names.join(", ")}`;
  return is(wanted, (value) => typeof value === "string" && values.includes(value));
}

/** Undefined, or what `check` lets through. */
export function optional(check: Check): Check {
  return (value, path) => {
    if (value !== undefined) check(value, path);
  };
}

/** An array whose members `check` lets through. */
export function listOf(check: Check): Check {
  return (value, path) => {
    if (!Array.isArray(value)) throw wrongType(path, "an array", value);
    for (const [index, member] of value.entries()) check(member, `${path}[${index}]`);
  };
}

/** An address: an integer from 0 to 2^64 - 1. Throws ADDRESS_OUT_OF_RANGE, too. */
export const isAddress: Check = (value, path) => {
  toAddress(value as AddressLike, path);
};

/** A number of bytes or bits: an integer from 0 to 2^53 - 1. */
export const isLength: Check = (value, path) => {
  if (typeof value !== "number") throw wrongType(path, "an integer from 0 to 2^53 - 1", value);
  toLength(value, path);
};

export const isBoolean = /* @__PURE__ */ is("true or false", (value) => typeof value === "boolean");
export const isFunction = /* @__PURE__ */ is("a function", (value) => typeof value === "function");
export const isSignal = /* @__PURE__ */ is("an AbortSignal", (value) =>
  hasMethods(value, ["addEventListener", "removeEventListener"]),
);

function checkFields(value: unknown, path: string, fields: Checks): asserts value is object {
  if (typeof value !== "object" || value === null) throw wrongType(path || "options", "an object", value);
  for (const [name, check] of Object.entries(fields)) {
    check(Reflect.get(value, name), path === "" ? name : `${path}.${name}`);
  }
}

/** An object with these fields and any others. */
export function shape(fields: Checks): Check {
  return (value, path) => checkFields(value, path, fields);
}

/** An object with these fields and no others. At the top `path` is empty. */
export function options(fields: Checks): Check {
  return (value, path) => {
    if (typeof value === "object" && value !== null) {
      const unknown = Object.keys(value).find((name) => !Object.hasOwn(fields, name));
      if (unknown !== undefined) throw unknownOption(unknown, path, Object.keys(fields));
    }
    checkFields(value, path, fields);
  };
}

/** An object without other fields than these, whose values somebody else checks. */
export function named(...names: readonly string[]): Check {
  return options(Object.fromEntries(names.map((name) => [name, () => {}])));
}

/** The word of `known` that `word` may be a misspelling of. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((other) => ({ other, likeness: likeness(word.toLowerCase(), other.toLowerCase()) }))
    .sort((a, b) => b.likeness - a.likeness);
  return best !== undefined && best.likeness >= 0.6 ? best.other : undefined;
}

function unknownOption(name: string, path: string, known: readonly string[]): TypeError {
  const prefix = path === "" ? "" : `${path}.`;
  const near = nearest(name, known);
  const hint = near === undefined ? `there are ${known.join(", ")}` : `did you mean ${prefix}${near}?`;
  return new TypeError(`there is no option ${prefix}${name.slice(0, 60)}; ${hint}`);
}

/** Share of the letters of both words that lie in their longest common subsequence: "cmdline" is an abbreviation. */
function likeness(a: string, b: string): number {
  const row = new Array<number>(b.length + 1).fill(0);
  for (const letter of a.slice(0, 60)) {
    let diagonal = 0;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j] ?? 0;
      row[j] = letter === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1] ?? 0);
      diagonal = above;
    }
  }
  return (2 * (row[b.length] ?? 0)) / (a.length + b.length);
}
