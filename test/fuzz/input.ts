/** What an execution is given: plain data, so that it can be kept in a file and given again. */

/** Plain data with bytes. */
export type Value =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Value[]
  | { readonly [name: string]: Value };

/** The input of one execution, by name. */
export type FuzzInput = { readonly [name: string]: Value };

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** What JSON has no form for is an object with one key of these. */
const BYTES = "$base64";
const BIGINT = "$bigint";
const NUMBER = "$number";
const UNDEFINED = "$undefined";

function toJson(value: Value): Json {
  if (value === undefined) return { [UNDEFINED]: true };
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "bigint") return { [BIGINT]: value.toString() };
  if (typeof value === "number") {
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { [NUMBER]: Object.is(value, -0) ? "-0" : `${value}` };
  }
  if (value instanceof Uint8Array) return { [BYTES]: Buffer.from(value).toString("base64") };
  if (isList(value)) return value.map(toJson);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, toJson(each)]));
}

function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

function fromJson(json: Json): Value {
  if (json === null || typeof json !== "object") return json;
  if (Array.isArray(json)) return json.map(fromJson);
  const { [BYTES]: bytes, [BIGINT]: bigint, [NUMBER]: number, [UNDEFINED]: nothing } = json;
  if (typeof bytes === "string") return Uint8Array.from(Buffer.from(bytes, "base64"));
  if (typeof bigint === "string") return BigInt(bigint);
  if (typeof number === "string") return Number(number);
  if (nothing === true) return undefined;
  return Object.fromEntries(Object.entries(json).map(([name, each]) => [name, fromJson(each)]));
}

/** The input as text. */
export function encodeInput(input: FuzzInput): Json {
  return toJson(input);
}

/** The input out of its text. */
export function decodeInput(json: unknown): FuzzInput {
  const value = fromJson(json as Json);
  if (typeof value !== "object" || value === null || isList(value) || value instanceof Uint8Array) {
    throw new TypeError("an input is an object");
  }
  return value;
}

/** The bytes under `name`. */
export function bytesOf(input: FuzzInput, name: string): Uint8Array {
  const value = input[name];
  if (!(value instanceof Uint8Array)) throw new TypeError(`the input has no bytes ${name}`);
  return value;
}

/** The number under `name`. */
export function numberOf(input: FuzzInput, name: string): number {
  const value = input[name];
  if (typeof value !== "number") throw new TypeError(`the input has no number ${name}`);
  return value;
}

/** The number under `name`, or undefined. */
export function maybeNumberOf(input: FuzzInput, name: string): number | undefined {
  return input[name] === undefined ? undefined : numberOf(input, name);
}

/** The text under `name`. */
export function textOf(input: FuzzInput, name: string): string {
  const value = input[name];
  if (typeof value !== "string") throw new TypeError(`the input has no text ${name}`);
  return value;
}

/** The list under `name`. */
export function listOf(input: FuzzInput, name: string): readonly Value[] {
  const value = input[name];
  if (value === undefined || !isList(value)) throw new TypeError(`the input has no list ${name}`);
  return value;
}

/** The numbers under `name`. */
export function numbersOf(input: FuzzInput, name: string): readonly number[] {
  return listOf(input, name).map(Number);
}
