// npm test [-- SUITE …]: on a fresh clone, installs what the tests need, builds, runs every suite, and reports the
// coverage of src/. A skipped test is a failure: missing tools are installed, or named.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { gatherCoverage } from "./coverage.mjs";
import { build, ensurePackages, ensureTools, say } from "./setup.mjs";

const asked = process.argv.slice(2);

ensurePackages();
// Some 900 MB: the programs of other runtimes, out of packages without scripts.
if (asked.length === 0 || asked.includes("runtimes")) ensurePackages("test/runtimes", "--ignore-scripts");
if (asked.join() !== "unit")
  ensureTools({
    cc: "gcc",
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/include/linux/types.h": "linux-libc-dev",
    as: "binutils",
    "aarch64-linux-gnu-as": "binutils-aarch64-linux-gnu",
    dtc: "device-tree-compiler",
    lz4: "lz4",
    xz: "xz-utils",
    gzip: "gzip",
    bzip2: "bzip2",
    zstd: "zstd",
    // Mounts, limits and capabilities of their own, for disks that are full or read-only.
    unshare: "util-linux",
    prlimit: "util-linux",
    setpriv: "util-linux",
    lzop: "lzop",
    // Makes the inputs of test/cases.
    python3: "python3-minimal",
    // Completion.
    fish: "fish",
    zsh: "zsh",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "/usr/bin/chromium": "chromium",
  });
build();

function testFiles(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".test.js"))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** Rooms whose tests need nothing but Node. */
const UNIT_ROOMS = ["wasm", "memory", "importers", "plan", "task", "base", "sources"];

const all = testFiles("build/test");
const isIn =
  (...folders) =>
  (file) =>
    folders.some((name) => file.startsWith(join("build", "test", name, "/")));
const isPlain = (file) => !isIn("boot", "browser", "runtimes", "package-types")(file);
// The tests of rooms that call hot paths run again over the JavaScript twins; the rooms above only call these.
const HOT_ROOMS = ["wasm", "memory", "importers", "plan", "x86", "conformance", "fuzz"];
const twins = ["--import", "./build/test/support/use-twins.js"];
const suites = {
  wasm: { files: all.filter(isPlain), flags: [], jobs: 2 },
  twins: { files: all.filter(isIn(...HOT_ROOMS)), flags: twins, jobs: 2 },
  // The built package in Debian's Chromium.
  browser: { files: all.filter(isIn("browser")), flags: [], jobs: 1 },
  // The package as npm would publish it, in every runtime, bundler and compiler setting that it is for.
  runtimes: { files: all.filter(isIn("runtimes", "package-types")), flags: [], jobs: 2 },
  // Each of them boots a machine under software emulation: two at a time.
  boot: { files: all.filter(isIn("boot")), flags: [], jobs: 2 },
  // The tests that need no emulator, browser or tool of Linux: for macOS and Windows. Not part of the whole run.
  unit: { files: all.filter(isIn(...UNIT_ROOMS)), flags: [], jobs: 2 },
};

const names = asked.length > 0 ? asked : Object.keys(suites).filter((name) => name !== "unit");
mkdirSync("build/results", { recursive: true });
rmSync("build/coverage", { recursive: true, force: true });
const table = [];
for (const name of names) {
  const suite = suites[name];
  if (suite === undefined) {
    say(`there is no suite ${name}; the suites are ${Object.keys(suites).join(", ")}`);
    process.exit(2);
  }
  say(`suite ${name}: ${suite.files.length} files`);
  const results = `build/results/${name}.tap`;
  const start = performance.now();
  const { status } = spawnSync(
    process.execPath,
    [
      ...suite.flags,
      "--test",
      `--test-concurrency=${suite.jobs}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      "--test-reporter=tap",
      `--test-reporter-destination=${results}`,
      ...suite.files,
    ],
    {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, NODE_V8_COVERAGE: resolve("build/coverage", name) },
    },
  );
  const tap = readFileSync(results, "utf8");
  const count = (what) => Number(new RegExp(`^# ${what} (\\d+)$`, "m").exec(tap)?.[1] ?? Number.NaN);
  const row = { name, pass: count("pass"), fail: count("fail"), skipped: count("skipped") + count("todo") };
  const seconds = (performance.now() - start) / 1000;
  table.push({ ...row, seconds, ok: status === 0 && row.fail === 0 && row.skipped === 0 && row.pass > 0 });
}

// One report of src/ over all suites: some lines only the twins run, some only the command in a boot.
const LEAST_LINES = 95;
let isCovered = true;
if (asked.length === 0) {
  for (const name of names) gatherCoverage(join("build", "coverage", name), join("build", "coverage", "all"));
  const { status } = spawnSync(
    process.execPath,
    [
      ...["node_modules/c8/bin/c8.js", "report", "--temp-directory", "build/coverage/all"],
      ...["--all", "--src", "src", "--include", "src/**/*.ts", "--exclude-after-remap"],
      ...["--exclude", "**/*.generated.ts", "--exclude", "src/index.ts", "--exclude", "src/loader.ts"],
      ...["--reporter", "text", "--reporter", "json-summary", "--reports-dir", "build/coverage/report"],
      ...["--check-coverage", "--lines", `${LEAST_LINES}`],
      ...["--functions", "0", "--branches", "0", "--statements", "0"],
    ],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  isCovered = status === 0;
}

process.stdout.write("\nsuite      passed  failed  skipped  seconds\n");
for (const { name, pass, fail, skipped, seconds } of table) {
  const cells = [pass, fail, skipped].map((value) => String(value).padStart(7));
  process.stdout.write(`${name.padEnd(10)}${cells.join(" ")}  ${seconds.toFixed(1).padStart(7)}\n`);
}
const sum = (key) => table.reduce((total, row) => total + row[key], 0);
process.stdout.write(`${sum("pass")} passed, ${sum("fail")} failed, ${sum("skipped")} skipped\n`);
process.exitCode = table.every((row) => row.ok) && isCovered ? 0 : 1;
