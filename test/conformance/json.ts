/** JSON as data: read with checks, compared with the places where two values differ. */

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

/** A folder, scenario or expectation that can't be understood; never a reason to pass. */
export class Unusable extends Error {
  override readonly name = "Unusable";
}

// JSON.parse is typed `any`; this makes of it what it is.
function toJsonValue(value: unknown): JsonValue {
  if (
    value === null ||
    typeof value === "boolean" ||
    typeof value === "number" ||
    typeof value === "string"
  ) {
    return value;
  }
  if (Array.isArray(value)) return value.map(toJsonValue);
  if (typeof value !== "object") throw new Unusable(`${typeof value} is no JSON`);
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, toJsonValue(entry)]));
}

/** Parses JSON. Throws {@link Unusable} where it is none. */
export function parseJson(text: string, what: string): JsonValue {
  try {
    return toJsonValue(JSON.parse(text));
  } catch (cause) {
    throw new Unusable(`${what} is no JSON: ${cause instanceof Error ? cause.message : cause}`);
  }
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function asObject(value: JsonValue | undefined, what: string): JsonObject {
  if (!isObject(value)) throw new Unusable(`${what} must be an object, got ${show(value)}`);
  return value;
}

export function asArray(value: JsonValue | undefined, what: string): JsonValue[] {
  if (!Array.isArray(value)) throw new Unusable(`${what} must be an array, got ${show(value)}`);
  return value;
}

export function asString(value: JsonValue | undefined, what: string): string {
  if (typeof value !== "string") throw new Unusable(`${what} must be a string, got ${show(value)}`);
  return value;
}

export function asLength(value: JsonValue | undefined, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new Unusable(`${what} must be a non-negative integer, got ${show(value)}`);
  }
  return value;
}

/** `value` for a message, cut where it grows long. */
export function show(value: JsonValue | undefined): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

/** A place where two values differ: `.kernel.gpa`, `[3].value`. */
export interface Difference {
  readonly path: string;
  readonly expected: JsonValue | undefined;
  readonly got: JsonValue | undefined;
}

/** Every place where `got` differs from `expected`; a key that only one of them has is one too. */
export function differences(
  expected: JsonValue | undefined,
  got: JsonValue | undefined,
  path = "",
): Difference[] {
  if (Array.isArray(expected) && Array.isArray(got)) {
    const found: Difference[] = [];
    for (let i = 0; i < Math.max(expected.length, got.length); i++) {
      found.push(...differences(expected[i], got[i], `${path}[${i}]`));
    }
    return found;
  }
  if (isObject(expected) && isObject(got)) {
    const keys = new Set([...Object.keys(expected), ...Object.keys(got)]);
    return [...keys].flatMap((key) => differences(expected[key], got[key], `${path}.${key}`));
  }
  return expected === got ? [] : [{ path, expected, got }];
}
