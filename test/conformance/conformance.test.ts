import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { hotPaths } from "../../src/index.js";
import { asArray, asObject, asString, type JsonObject, type JsonValue, parseJson } from "./json.js";
import { type Report, replayFolder } from "./replay.js";

// Compiled, this file lies in build/test/conformance/.
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const GOLDEN = join(ROOT, "test/golden");
const MAIN = fileURLToPath(new URL("main.js", import.meta.url));

const SCENARIOS = 497;
const MTRR_ROWS = 1430;
const SKIPPED = 42;

function describeDeviations({ deviations }: Report): string {
  return deviations
    .map(({ scenario, where, expected, got }) => `${scenario}: ${where}: expected ${expected}, got ${got}`)
    .join("\n");
}

describe("golden data of OpenVMM's loader", () => {
  after(() => hotPaths.use("auto"));

  for (const implementation of ["wasm", "javascript"] as const) {
    test(`agrees with the ${implementation} hot paths`, () => {
      hotPaths.use(implementation);
      const report = replayFolder(GOLDEN, { count: SCENARIOS + MTRR_ROWS + SKIPPED });
      assert.equal(describeDeviations(report), "");
      assert.equal(report.failed, 0);
      assert.equal(report.passedScenarios, SCENARIOS);
      assert.equal(report.passedRows, MTRR_ROWS);
      assert.equal(report.skipped, SKIPPED);
    });
  }
});

/** What the small copy holds: each kind of outcome, and blobs, registers and guest memory. */
const SMALL = [
  "elf-single",
  "elf-bad-magic",
  "elf-no-phdrs",
  "initrd-overlap_kernel_strict",
  "elf-shared-page",
  "inject-x64-1",
  "boot-x86",
  "boot-config",
  "boot-inject-4",
  "gdt-0x0",
  "zero-page-acpi-0",
  "zero-page-ranges-127",
  "page-table-4g-0x0",
  "chunk-inject-1",
  "crc32-check",
  "align-0x0",
  "arm64-boot-0",
  "pt-builder-4g",
];
const SMALL_ROWS = 3;

interface Copy {
  readonly directory: string;
  /** Replaces a file by what `change` makes of it. */
  readonly edit: (path: string, change: (file: JsonObject) => void) => void;
  /** Changes the entry of a scenario in index.json. */
  readonly editScenario: (id: string, change: (scenario: JsonObject) => void) => void;
}

const copies: string[] = [];

function write(path: string, value: JsonValue): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, JSON.stringify(value));
}

function read(path: string): JsonValue {
  return parseJson(readFileSync(path, "utf8"), path);
}

function readScenarios(path: string): JsonObject[] {
  return asArray(asObject(read(path), path)["scenarios"], path).map((entry) => asObject(entry, path));
}

function smallCopy(): Copy {
  const directory = mkdtempSync(join(tmpdir(), "directboot-golden-"));
  copies.push(directory);
  const chosen = readScenarios(join(GOLDEN, "index.json")).filter((scenario) =>
    SMALL.includes(asString(scenario["id"], "id")),
  );
  assert.equal(chosen.length, SMALL.length);
  write(join(directory, "index.json"), { scenarios: chosen });
  write(join(directory, "mtrr.json"), asArray(read(join(GOLDEN, "mtrr.json")), "rows").slice(0, SMALL_ROWS));
  for (const scenario of chosen) {
    for (const key of ["expected", "checkedExpected"]) {
      const path = scenario[key];
      if (typeof path === "string") cpSync(join(GOLDEN, path), join(directory, path));
    }
    for (const value of Object.values(asObject(scenario["params"], "params"))) {
      if (typeof value === "string" && value.startsWith("inputs/")) {
        cpSync(join(GOLDEN, value), join(directory, value));
      }
    }
  }
  const edit: Copy["edit"] = (path, change) => {
    const file = asObject(read(join(directory, path)), path);
    change(file);
    write(join(directory, path), file);
  };
  const editScenario: Copy["editScenario"] = (id, change) => {
    edit("index.json", (file) => {
      const entry = asArray(file["scenarios"], "scenarios").find((one) => asObject(one, "one")["id"] === id);
      change(asObject(entry, id));
    });
  };
  return { directory, edit, editScenario };
}

/** The deviations of `copy` as "scenario: where"; all of them are in `scenario`. */
function places({ directory }: Copy, scenario: string, count = 1): string[] {
  const report = replayFolder(directory);
  assert.equal(report.failed, count);
  assert.equal(report.passed + report.failed + report.skipped, SMALL.length + SMALL_ROWS);
  for (const deviation of report.deviations) assert.equal(deviation.scenario, scenario);
  return report.deviations.map(({ where }) => where);
}

/** The one deviation of `copy`. */
function onlyDeviation({ directory }: Copy): Report["deviations"][number] {
  const report = replayFolder(directory);
  assert.equal(report.failed, 1);
  const [deviation, ...more] = report.deviations;
  assert.deepEqual(more, []);
  assert.ok(deviation !== undefined);
  return deviation;
}

function callsOf(file: JsonObject): JsonValue[] {
  return asArray(file["calls"], "calls");
}

describe("replay", () => {
  afterEach(() => {
    for (const copy of copies.splice(0)) rmSync(copy, { recursive: true, force: true });
  });

  test("passes an untouched copy", () => {
    const report = replayFolder(smallCopy().directory, { count: SMALL.length + SMALL_ROWS });
    assert.equal(describeDeviations(report), "");
    assert.deepEqual(
      [report.passedScenarios, report.passedRows, report.skipped],
      [SMALL.length - 1, SMALL_ROWS, 1],
    );
  });

  test("sees a flipped byte in an input", () => {
    const copy = smallCopy();
    const path = join(copy.directory, "inputs/elf-single.elf");
    const bytes = readFileSync(path);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
    writeFileSync(path, bytes);
    const found = replayFolder(copy.directory);
    const where = found.deviations.filter(({ scenario }) => scenario === "elf-single");
    assert.deepEqual(
      where.map((deviation) => deviation.where),
      [
        "call 0.sha256",
        "memory[0].sha256",
        "GuestMemory.create: memory[0].sha256",
        "GuestMemory.attach(WebAssembly.Memory): memory[0].sha256",
      ],
    );
  });

  test("sees a swapped pair of calls", () => {
    const copy = smallCopy();
    copy.edit("expected/boot-config.json", (file) => {
      const calls = callsOf(file);
      calls.splice(3, 0, ...calls.splice(4, 1));
    });
    assert.deepEqual(places(copy, "boot-config"), [
      "call 3.name",
      "call 4.name",
      "GuestMemory.create: registers[1].name",
      "GuestMemory.create: registers[2].name",
      "GuestMemory.attach(WebAssembly.Memory): registers[1].name",
      "GuestMemory.attach(WebAssembly.Memory): registers[2].name",
    ]);
  });

  test("sees a missing and a superfluous call", () => {
    const copy = smallCopy();
    copy.edit("expected/gdt-0x0.json", (file) => {
      file["calls"] = callsOf(file).slice(0, -1);
    });
    assert.equal(places(copy, "gdt-0x0")[0], "call 7");

    const other = smallCopy();
    other.edit("expected/gdt-0x0.json", (file) => {
      callsOf(file).push({ op: "register", name: "Cr0", value: "0x0" });
    });
    assert.equal(places(other, "gdt-0x0")[0], "call 8");
  });

  test("sees a changed register value", () => {
    const copy = smallCopy();
    copy.edit("expected/arm64-boot-0.json", (file) => {
      for (const call of callsOf(file).map((one) => asObject(one, "call"))) {
        if (call["name"] === "Cpsr") call["value"] = "0x3c4";
      }
    });
    assert.deepEqual(places(copy, "arm64-boot-0"), [
      "call 3.value",
      "GuestMemory.create: registers[1].value",
      "GuestMemory.attach(WebAssembly.Memory): registers[1].value",
    ]);
  });

  test("sees a changed result, also of a row of mtrr.json", () => {
    const copy = smallCopy();
    copy.edit("expected/zero-page-acpi-0.json", (file) => {
      asObject(file["result"], "result")["e820Entries"] = 4;
    });
    const { where, expected, got } = onlyDeviation(copy);
    assert.deepEqual([where, expected, got], ["result.e820Entries", "4", "3"]);

    const other = smallCopy();
    const path = join(other.directory, "mtrr.json");
    const rows = asArray(read(path), path);
    asObject(asObject(rows[1], "row")["expected"], "expected")["endOfRam"] = "0x2000";
    write(path, rows);
    const row = onlyDeviation(other);
    assert.match(row.scenario, /^mtrr /);
    assert.equal(row.where, "result.endOfRam");
  });

  test("sees changed memory where calls overlap and guest memory can't be loaded", () => {
    const copy = smallCopy();
    copy.edit("expected/elf-shared-page.json", (file) => {
      asObject(asArray(file["memory"], "memory")[0], "run")["sha256"] = "00";
    });
    assert.equal(onlyDeviation(copy).where, "memory[0].sha256");
  });

  test("sees a wrong error variant", () => {
    const copy = smallCopy();
    copy.edit("expected/elf-bad-magic.json", (file) => {
      asObject(asObject(file["error"], "error")["source"], "source")["variant"] = "TargetMachineMismatch";
    });
    const { scenario, where, expected, got } = onlyDeviation(copy);
    assert.deepEqual([scenario, where], ["elf-bad-magic", "error"]);
    assert.match(expected, /^ELF_TARGET_MACHINE_MISMATCH: .*ElfLoader > TargetMachineMismatch/);
    assert.match(got, /^ELF_INVALID_FILE_HEADER /);
  });

  test("fails a variant that the table lacks", () => {
    const copy = smallCopy();
    copy.edit("expected/elf-bad-magic.json", (file) => {
      asObject(asObject(file["error"], "error")["source"], "source")["variant"] = "Cosmic";
    });
    assert.match(onlyDeviation(copy).expected, /ElfLoader > Cosmic, which the table lacks/);
  });

  test("fails an error that is expected where a load succeeds, and the other way round", () => {
    const copy = smallCopy();
    const error = { variant: "UnalignedAddress", message: "", address: "0x1" };
    copy.edit("expected/boot-config.json", (file) => {
      delete file["result"];
      file["error"] = error;
    });
    copy.editScenario("boot-config", (scenario) => {
      scenario["outcome"] = "error";
    });
    assert.match(onlyDeviation(copy).expected, /UNALIGNED_ADDRESS/);

    const other = smallCopy();
    other.edit("expected/elf-bad-magic.json", (file) => {
      delete file["error"];
      file["result"] = null;
    });
    other.editScenario("elf-bad-magic", (scenario) => {
      scenario["outcome"] = "ok";
    });
    assert.deepEqual(places(other, "elf-bad-magic")[0], "error");
  });

  test("fails an index that contradicts the expectation", () => {
    const copy = smallCopy();
    copy.editScenario("align-0x0", (scenario) => {
      scenario["outcome"] = "error";
    });
    assert.match(onlyDeviation(copy).got, /the index says error, the expectation holds ok/);
  });

  test("demands an error of must-throw and of an overflow", () => {
    const copy = smallCopy();
    copy.editScenario("align-0x0", (scenario) => {
      scenario["fault"] = "must-throw";
    });
    assert.match(onlyDeviation(copy).expected, /a DirectBootError: marked must-throw/);

    const other = smallCopy();
    other.editScenario("align-0x0", (scenario) => {
      scenario["checkedExpected"] = scenario["expected"] ?? null;
      scenario["checkedOutcome"] = "ok";
    });
    assert.match(onlyDeviation(other).expected, /a DirectBootError: upstream overflowed/);
  });

  test("demands agreement of may-throw where nothing is thrown", () => {
    const copy = smallCopy();
    copy.editScenario("boot-config", (scenario) => {
      scenario["fault"] = "may-throw";
    });
    copy.edit("expected/boot-config.json", (file) => {
      asObject(callsOf(file)[0], "call")["tag"] = "else";
    });
    assert.deepEqual(places(copy, "boot-config"), ["call 0.tag"]);
  });

  test("demands that calls before an error are the first of upstream's", () => {
    const copy = smallCopy();
    copy.edit("expected/inject-x64-1.json", (file) => {
      asObject(callsOf(file)[1], "call")["pageCount"] = 77;
    });
    assert.deepEqual(places(copy, "inject-x64-1"), ["call 1.pageCount"]);

    const other = smallCopy();
    other.edit("expected/inject-x64-1.json", (file) => {
      file["calls"] = callsOf(file).slice(0, 1);
    });
    assert.deepEqual(places(other, "inject-x64-1"), ["call 1"]);
  });

  test("lets an error of the plan win over an injected failure, if the plan has one", () => {
    const copy = smallCopy();
    // Upstream calls the importer five times before it looks at the zero page's address.
    copy.editScenario("boot-inject-4", (scenario) => {
      asObject(scenario["params"], "params")["zero_page_addr"] = "0x2001";
    });
    assert.equal(describeDeviations(replayFolder(copy.directory)), "");

    // Its twin without the injection says that there is no error of the plan.
    copy.editScenario("boot-config", (scenario) => {
      asObject(scenario["params"], "params")["zero_page_addr"] = "0x2001";
    });
    const report = replayFolder(copy.directory);
    assert.equal(report.failed, 2);
    const injected = report.deviations.find(({ scenario }) => scenario === "boot-inject-4");
    assert.match(injected?.expected ?? "", /^IMPORTER: /);
    assert.match(injected?.got ?? "", /^UNALIGNED_ADDRESS /);
  });

  for (const [what, change, message] of [
    ["an unknown op", { op: "boot_mips" }, /unknown op boot_mips/],
    ["an op that an object inherits", { op: "toString" }, /unknown op toString/],
    ["an unknown parameter", { colour: "red" }, /unknown parameter colour/],
    ["an unknown blob kind", { kernel: "zeros:100" }, /unknown blob kind zeros:/],
    ["a blob that is not there", { kernel: "inputs/none.elf" }, /inputs\/none\.elf/],
    ["an absent kernel", { kernel: "none" }, /parameter kernel is missing/],
    ["a value that is no integer", { min_start: "1 MiB" }, /1 MiB is no integer/],
    ["an unknown reader", { reader: "tape" }, /reader: tape/],
    ["an unknown importer", { importer: "lax" }, /importer: lax/],
  ] as const) {
    test(`fails ${what}`, () => {
      const copy = smallCopy();
      copy.editScenario("elf-single", (scenario) => {
        Object.assign(asObject(scenario["params"], "params"), change);
      });
      const { scenario, where, got } = onlyDeviation(copy);
      assert.deepEqual([scenario, where], ["elf-single", "scenario"]);
      assert.match(got, message);
    });
  }

  for (const [what, change, message] of [
    ["a missing expectation", { expected: "expected/none.json" }, /expected\/none\.json/],
    ["an expectation of another op", { expected: "expected/gdt-0x0.json" }, /is for import_default_gdt/],
    ["an unknown fault", { fault: "should-throw" }, /unknown fault "should-throw"/],
    ["a missing checked expectation", { checkedExpected: "x.json", checkedOutcome: "panic" }, /x\.json/],
    ["an id that is there twice", { id: "elf-bad-magic" }, /two scenarios/],
  ] as const) {
    test(`fails ${what}`, () => {
      const copy = smallCopy();
      copy.editScenario("elf-single", (scenario) => {
        Object.assign(scenario, change);
      });
      assert.match(onlyDeviation(copy).got, message);
    });
  }

  test("fails an entry that is no scenario, instead of leaving it out", () => {
    const copy = smallCopy();
    copy.edit("index.json", (file) => {
      asArray(file["scenarios"], "scenarios")[2] = { id: "no-params" };
    });
    assert.equal(onlyDeviation(copy).scenario, "entry 2");
  });

  test("fails a folder that holds fewer scenarios than it must", () => {
    const copy = smallCopy();
    copy.edit("index.json", (file) => {
      asArray(file["scenarios"], "scenarios").pop();
    });
    const report = replayFolder(copy.directory, { count: SMALL.length + SMALL_ROWS });
    assert.equal(report.failed, 1);
    assert.equal(report.deviations[0]?.scenario, "folder");
    assert.match(report.deviations[0]?.expected ?? "", new RegExp(`^${SMALL.length + SMALL_ROWS} `));
  });
});

describe("main.js", () => {
  afterEach(() => {
    for (const copy of copies.splice(0)) rmSync(copy, { recursive: true, force: true });
  });

  function main(...args: string[]): { status: number | null; lines: string[]; stderr: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8" });
    return { status, lines: stdout.trimEnd().split("\n"), stderr };
  }

  test("ends with a count and exits with 0 when all agree", () => {
    const { directory } = smallCopy();
    for (const choice of ["wasm", "javascript"]) {
      const { status, lines } = main(directory, "--hot-paths", choice);
      assert.deepEqual(lines, [`${SMALL.length - 1 + SMALL_ROWS} passed, 0 failed, 1 skipped`]);
      assert.equal(status, 0);
    }
  });

  test("prints deviations and exits with 1 when something deviates", () => {
    const copy = smallCopy();
    copy.edit("expected/align-0x0.json", (file) => {
      asObject(file["result"], "result")["gbPage"] = "0x1";
    });
    const { status, lines } = main(copy.directory);
    assert.deepEqual(lines, [
      'align-0x0: result.gbPage: expected "0x1", got "0x0"',
      `${SMALL.length - 2 + SMALL_ROWS} passed, 1 failed, 1 skipped`,
    ]);
    assert.equal(status, 1);
  });

  test("exits with 1 when the folder holds another number than --count", () => {
    const { directory } = smallCopy();
    assert.equal(main(directory, "--count", `${SMALL.length + SMALL_ROWS}`).status, 0);
    const { status, lines } = main(directory, "--count", "999");
    assert.equal(status, 1);
    assert.match(lines[0] ?? "", /^folder: scenarios and rows: expected 999 /);
  });

  test("exits with 1 when everything is marked as skipped: nothing was shown", () => {
    const copy = smallCopy();
    copy.edit("index.json", (file) => {
      for (const entry of asArray(file["scenarios"], "scenarios")) asObject(entry, "scenario")["skip"] = true;
    });
    rmSync(join(copy.directory, "mtrr.json"));
    const { status, lines, stderr } = main(copy.directory);
    assert.deepEqual(lines, [`0 passed, 0 failed, ${SMALL.length} skipped`]);
    assert.match(stderr, /nothing was replayed/);
    assert.equal(status, 1);
  });

  test("exits with 2 for what it can't use", () => {
    const { directory } = smallCopy();
    const empty = mkdtempSync(join(tmpdir(), "directboot-golden-"));
    copies.push(empty);
    for (const args of [
      [],
      [join(empty, "nowhere")],
      [empty],
      [directory, directory],
      [directory, "--hot-paths", "cobol"],
      [directory, "--count", "many"],
      [directory, "--fast"],
    ]) {
      const { status, stderr } = main(...args);
      assert.equal(status, 2, args.join(" "));
      assert.match(stderr, /usage: /);
    }
    write(join(empty, "index.json"), { scenarios: [] });
    assert.equal(main(empty).status, 2);
    writeFileSync(join(empty, "index.json"), "{");
    assert.equal(main(empty).status, 2);
  });
});
