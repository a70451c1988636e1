/** The smoke suite's expected results: those of this build, whose conformance other suites hold. */
import assert from "node:assert/strict";
import * as decoders from "../../../src/decoders/index.js";
import * as api from "../../../src/index.js";
import * as loader from "../../../src/loader.js";
import { X86_64_GUEST } from "../../support/paths.js";
import { smokeInputs } from "./inputs.js";
import { type SmokeReport, smoke } from "./smoke.js";

const inputs = smokeInputs();

type Checks = SmokeReport["checks"];
const made = new Map<string, Promise<Checks>>();

/** The checks, by what runs; with those of paths. */
function expectedChecks(implementation: "wasm" | "javascript"): Promise<Checks> {
  const known = made.get(implementation) ?? makeChecks(implementation);
  made.set(implementation, known);
  return known;
}

async function makeChecks(implementation: "wasm" | "javascript"): Promise<Checks> {
  api.hotPaths.use(implementation);
  decoders.decoders.use(implementation === "wasm" ? "auto" : implementation);
  try {
    const { checks } = await smoke(api, loader, decoders, inputs, { path: X86_64_GUEST });
    return JSON.parse(JSON.stringify(checks));
  } finally {
    api.hotPaths.use("auto");
    decoders.decoders.use("auto");
  }
}

/** A runtime's expected implementations. */
export interface Expectation {
  readonly implementation: "wasm" | "javascript";
  /** The implementation over shared memory, if it is another. */
  readonly sharedHotPaths?: "wasm" | "javascript";
  readonly hasPaths: boolean;
}

/** Holds a report, as its JSON came out of a runtime, against what this build gives. */
export async function checkReport(text: string, expectation: Expectation): Promise<void> {
  const { implementation, sharedHotPaths = implementation, hasPaths } = expectation;
  const { checks, ...rest }: SmokeReport = JSON.parse(text);
  const what = { hotPaths: implementation, decoders: implementation, sharedHotPaths };
  assert.deepEqual(rest, what);
  const expected = Object.entries(await expectedChecks(implementation)).filter(
    ([name]) => hasPaths || !name.includes("path"),
  );
  for (const [name, value] of expected) assert.deepEqual(checks[name], value, name);
  assert.deepEqual(
    Object.keys(checks),
    expected.map(([name]) => name),
  );
}
