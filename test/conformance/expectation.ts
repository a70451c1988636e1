/** What golden's `expected/` says of a scenario, checked to be what the README describes. */
import {
  asArray,
  asLength,
  asObject,
  asString,
  isObject,
  type JsonObject,
  type JsonValue,
  Unusable,
} from "./json.js";

/** A contiguous run of pages and the digest of its bytes. */
export interface MemoryRun {
  readonly pageBase: bigint;
  readonly pageCount: number;
  readonly sha256: string;
}

export type Outcome =
  | { readonly kind: "ok"; readonly result: JsonValue }
  | { readonly kind: "error"; readonly error: JsonObject }
  | { readonly kind: "panic"; readonly message: string };

export interface Expectation {
  readonly op: string;
  readonly calls: readonly JsonObject[];
  readonly outcome: Outcome;
  /** Undefined where upstream's driver skipped it. */
  readonly memory: readonly MemoryRun[] | undefined;
}

function readCall(value: JsonValue, what: string): JsonObject {
  const call = asObject(value, what);
  const op = asString(call["op"], `${what}.op`);
  if (op === "pages") {
    for (const field of ["pageBase", "tag", "acceptance", "sha256"])
      asString(call[field], `${what}.${field}`);
    asLength(call["pageCount"], `${what}.pageCount`);
    asLength(call["dataLength"], `${what}.dataLength`);
  } else if (op === "register") {
    asString(call["name"], `${what}.name`);
  } else {
    throw new Unusable(`${what}: unknown call ${op}`);
  }
  return call;
}

function readMemory(value: JsonValue | undefined): MemoryRun[] | undefined {
  if (!Array.isArray(value)) {
    asString(asObject(value, "memory")["skipped"], "memory.skipped");
    return undefined;
  }
  return value.map((entry, i) => {
    const run = asObject(entry, `memory[${i}]`);
    const pageBase = asString(run["pageBase"], `memory[${i}].pageBase`);
    if (!/^0x[0-9a-f]+$/.test(pageBase)) throw new Unusable(`memory[${i}].pageBase: ${pageBase}`);
    return {
      pageBase: BigInt(pageBase),
      pageCount: asLength(run["pageCount"], `memory[${i}].pageCount`),
      sha256: asString(run["sha256"], `memory[${i}].sha256`),
    };
  });
}

function readOutcome(file: JsonObject): Outcome {
  const kinds = ["result", "error", "panic"].filter((key) => Object.hasOwn(file, key));
  if (kinds.length !== 1) {
    throw new Unusable(
      `an expectation holds one of result, error and panic, got ${kinds.join(", ") || "none"}`,
    );
  }
  if (kinds[0] === "error") return { kind: "error", error: asObject(file["error"], "error") };
  if (kinds[0] === "panic") return { kind: "panic", message: asString(file["panic"], "panic") };
  const result = file["result"] ?? null;
  if (!isObject(result)) return { kind: "ok", result };
  // Where upstream leaves its reader does not count: a Source has no position.
  const { filePosition: _, ...rest } = result;
  return { kind: "ok", result: rest };
}

/** Reads a file of `expected/`. Throws Unusable where it is none. */
export function readExpectation(value: JsonValue): Expectation {
  const file = asObject(value, "expectation");
  return {
    op: asString(file["op"], "expectation.op"),
    calls: asArray(file["calls"], "calls").map((call, i) => readCall(call, `calls[${i}]`)),
    outcome: readOutcome(file),
    memory: readMemory(file["memory"]),
  };
}
