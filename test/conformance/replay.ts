/** Replays a folder in golden's format through directboot's public functions. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Deviation, describeThrown } from "./compare.js";
import { type Expectation, readExpectation } from "./expectation.js";
import { asArray, asObject, asString, type JsonObject, type JsonValue, parseJson, Unusable } from "./json.js";
import { type Fault, judgeOperation, type Terms } from "./judge.js";
import { readOperation } from "./operations.js";

/** A deviation and whose it is. */
export interface ScenarioDeviation extends Deviation {
  readonly scenario: string;
}

export interface Report {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Scenarios of index.json that passed, and rows of mtrr.json. */
  readonly passedScenarios: number;
  readonly passedRows: number;
  readonly deviations: readonly ScenarioDeviation[];
}

interface Scenario {
  readonly id: string;
  readonly params: JsonObject;
  readonly isSkipped: boolean;
  /** Reads the expectation; throws Unusable if there is none. */
  readonly terms: () => Terms;
}

function readFile(root: string, path: string): JsonValue {
  let text: string;
  try {
    text = readFileSync(join(root, path), "utf8");
  } catch (cause) {
    throw new Unusable(`${path}: ${cause instanceof Error ? cause.message : cause}`);
  }
  return parseJson(text, path);
}

function readFault(value: JsonValue | undefined): Fault | undefined {
  if (value === null) return undefined;
  if (value === undefined || value === "must-throw" || value === "may-throw") return value;
  throw new Unusable(`unknown fault ${JSON.stringify(value)}`);
}

function readSkip(value: JsonValue | undefined): boolean {
  if (value === undefined || typeof value === "boolean") return value ?? false;
  throw new Unusable(`unknown skip ${JSON.stringify(value)}`);
}

function readExpectationOf(op: JsonValue | undefined, outcome: string, file: JsonValue): Expectation {
  const expected = readExpectation(file);
  if (expected.op !== op) throw new Unusable(`the expectation is for ${expected.op}`);
  if (expected.outcome.kind !== outcome) {
    throw new Unusable(`the index says ${outcome}, the expectation holds ${expected.outcome.kind}`);
  }
  return expected;
}

function readScenario(root: string, entry: JsonValue): Scenario {
  const scenario = asObject(entry, "scenario");
  const params = asObject(scenario["params"], "params");
  const op = params["op"];
  return {
    id: asString(scenario["id"], "id"),
    params,
    isSkipped: readSkip(scenario["skip"]),
    terms: () => {
      const read = (path: string, outcome: string): Expectation => {
        const file = asString(scenario[path], path);
        return readExpectationOf(op, asString(scenario[outcome], outcome), readFile(root, file));
      };
      const isOverflow = scenario["checkedExpected"] !== undefined;
      // The checked build's calls stop where it overflowed; its file must be there all the same.
      if (isOverflow) read("checkedExpected", "checkedOutcome");
      return { expected: read("expected", "outcome"), fault: readFault(scenario["fault"]), isOverflow };
    },
  };
}

/** A row of mtrr.json is a scenario whose expectation stands in the row. */
function readMtrrRow(entry: JsonValue): Scenario {
  const row = asObject(entry, "row");
  const params = asObject(row["params"], "params");
  return {
    id: `mtrr ${asString(row["id"], "id")}`,
    params,
    isSkipped: readSkip(row["skip"]),
    terms: () => {
      const result = asObject(row["expected"], "expected");
      const file = { op: "compute_variable_mtrrs", calls: [], result, memory: [] };
      const isOverflow = row["checkedExpected"] !== undefined;
      return {
        expected: readExpectationOf(params["op"], "ok", file),
        fault: readFault(row["fault"]),
        isOverflow,
      };
    },
  };
}

/** The parameters without `fail_at`, in one spelling: what a scenario's twin without injection has. */
function keyWithoutInjection(params: JsonObject): string {
  const entries = Object.entries(params).filter(([name]) => name !== "fail_at");
  return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

class Replay {
  readonly #root: string;
  readonly #scratch: string;
  readonly #onDeviation: (deviation: ScenarioDeviation) => void;
  readonly #ids = new Set<string>();
  readonly #uninjected = new Map<string, Scenario>();
  readonly deviations: ScenarioDeviation[] = [];
  failed = 0;
  skipped = 0;

  constructor(root: string, scratch: string, onDeviation: (deviation: ScenarioDeviation) => void) {
    this.#root = root;
    this.#scratch = scratch;
    this.#onDeviation = onDeviation;
  }

  report(scenario: string, deviation: Deviation): void {
    const whole = { scenario, ...deviation };
    this.deviations.push(whole);
    this.#onDeviation(whole);
  }

  #judge(scenario: Scenario): Deviation[] {
    const { id, params } = scenario;
    if (this.#ids.has(id)) throw new Unusable("there are two scenarios of this id");
    this.#ids.add(id);
    const operation = readOperation(params, this.#root, this.#scratch);
    const twin =
      params["fail_at"] === undefined ? undefined : this.#uninjected.get(keyWithoutInjection(params));
    return judgeOperation(operation, scenario.terms(), twin?.terms());
  }

  /** Replays a list; returns how many passed. */
  run(list: readonly JsonValue[], read: (entry: JsonValue) => Scenario): number {
    const scenarios = list.map((entry, i): Scenario | { failure: unknown; name: string } => {
      try {
        return read(entry);
      } catch (failure) {
        return { failure, name: `entry ${i}` };
      }
    });
    for (const scenario of scenarios) {
      if ("failure" in scenario || scenario.isSkipped || scenario.params["fail_at"] !== undefined) continue;
      this.#uninjected.set(keyWithoutInjection(scenario.params), scenario);
    }
    let passed = 0;
    for (const scenario of scenarios) {
      if (!("failure" in scenario) && scenario.isSkipped) {
        this.skipped++;
        continue;
      }
      const name = "failure" in scenario ? scenario.name : scenario.id;
      let found: Deviation[];
      try {
        if ("failure" in scenario) throw scenario.failure;
        found = this.#judge(scenario);
      } catch (cause) {
        // A scenario that can't be understood has failed; anything else here is a fault of this tool, and fails too.
        const got = cause instanceof Unusable ? cause.message : describeThrown(cause);
        found = [{ where: "scenario", expected: "one that can be replayed", got }];
      }
      for (const deviation of found) this.report(name, deviation);
      if (found.length === 0) passed++;
      else this.failed++;
    }
    return passed;
  }
}

function readList(root: string, path: string, pick: (file: JsonValue) => JsonValue | undefined): JsonValue[] {
  const list = asArray(pick(readFile(root, path)), path);
  if (list.length === 0) throw new Unusable(`${path} holds nothing to replay`);
  return list;
}

function hasMtrr(root: string): boolean {
  try {
    readFileSync(join(root, "mtrr.json"));
    return true;
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return false;
    throw new Unusable(`mtrr.json: ${cause instanceof Error ? cause.message : cause}`);
  }
}

/** Options of {@link replayFolder}. */
export interface ReplayOptions {
  readonly onDeviation?: (deviation: ScenarioDeviation) => void;
  /** Scenarios and rows that the folder must hold, skipped ones included; one more or less is a failure. */
  readonly count?: number;
}

/**
 * Replays `index.json` and, if it is there, `mtrr.json` of the folder `root`, with the hot paths that are chosen.
 *
 * @throws Unusable if there is no such folder
 */
export function replayFolder(root: string, options: ReplayOptions = {}): Report {
  const scenarios = readList(root, "index.json", (file) => asObject(file, "index.json")["scenarios"]);
  const rows = hasMtrr(root) ? readList(root, "mtrr.json", (file) => file) : [];
  const scratch = mkdtempSync(join(tmpdir(), "directboot-replay-"));
  try {
    const replay = new Replay(root, scratch, options.onDeviation ?? (() => {}));
    const passedScenarios = replay.run(scenarios, (entry) => readScenario(root, entry));
    const passedRows = replay.run(rows, readMtrrRow);
    const passed = passedScenarios + passedRows;
    const wanted = options.count ?? scenarios.length + rows.length;
    const ran = passed + replay.failed + replay.skipped;
    if (ran !== wanted) {
      replay.failed++;
      replay.report("folder", {
        where: "scenarios and rows",
        expected: `${wanted} replayed or skipped`,
        got: `${ran}`,
      });
    }
    const { failed, skipped, deviations } = replay;
    return { passed, failed, skipped, passedScenarios, passedRows, deviations };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
