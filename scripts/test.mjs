// npm test [-- SUITE …]: on a fresh clone, installs what the tests need, builds, runs every suite, and reports the
// coverage of src/. A skipped test is a failure: missing tools are installed, or named.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve, sep } from "node:path";
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
    iasl: "acpica-tools",
    dmidecode: "dmidecode",
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
    python3: "python3",
    // Completion.
    fish: "fish",
    zsh: "zsh",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "/usr/bin/chromium": "chromium",
  });
build();

/** Rooms whose tests need nothing but Node. */
const UNIT_ROOMS = ["wasm", "memory", "importers", "plan", "task", "base", "sources"];

const all = readdirSync("build/test", { recursive: true })
  .filter((name) => name.endsWith(".test.js"))
  .map((name) => join("build/test", name))
  .sort();
const inRooms = (...rooms) => all.filter((file) => rooms.includes(file.split(sep)[2]));
const APART = ["boot", "browser", "runtimes", "package-types"];
// The tests of rooms that call hot paths run again over the JavaScript twins; the rooms above only call these.
const HOT_ROOMS = ["wasm", "memory", "importers", "plan", "x86", "conformance", "fuzz"];
const suites = {
  wasm: { files: all.filter((file) => !inRooms(...APART).includes(file)) },
  twins: { files: inRooms(...HOT_ROOMS), flags: ["--import", "./build/test/support/use-twins.js"] },
  // The built package in Debian's Chromium.
  browser: { files: inRooms("browser"), jobs: 1 },
  // The package as npm would publish it, in every runtime, bundler and compiler setting that it is for.
  runtimes: { files: inRooms("runtimes", "package-types") },
  // Each of them boots a machine under software emulation: two at a time.
  boot: { files: inRooms("boot") },
  // The tests that need no emulator, browser or tool of Linux: for macOS and Windows. Not part of the whole run.
  unit: { files: inRooms(...UNIT_ROOMS) },
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
  const { files, flags = [], jobs = 2 } = suite;
  say(`suite ${name}: ${files.length} files`);
  const results = `build/results/${name}.tap`;
  const start = performance.now();
  const { status } = spawnSync(
    process.execPath,
    [
      ...flags,
      "--test",
      `--test-concurrency=${jobs}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      "--test-reporter=tap",
      `--test-reporter-destination=${results}`,
      ...files,
    ],
    {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, NODE_V8_COVERAGE: resolve("build/coverage/raw") },
    },
  );
  const tap = readFileSync(results, "utf8");
  const count = (what) => Number(new RegExp(`^# ${what} (\\d+)$`, "m").exec(tap)?.[1] ?? Number.NaN);
  const [pass, fail, skipped] = [count("pass"), count("fail"), count("skipped") + count("todo")];
  const seconds = (performance.now() - start) / 1000;
  const ok = status === 0 && fail === 0 && skipped === 0 && pass > 0;
  table.push({ name, pass, fail, skipped, seconds, ok });
}

// One report of src/ over all suites: some lines only the twins run, some only the command in a boot.
const LEAST_LINES = 95;
let isCovered = true;
if (asked.length === 0) {
  const { status } = spawnSync(
    process.execPath,
    [
      ...["node_modules/c8/bin/c8.js", "report", "--temp-directory", "build/coverage/raw", "--merge-async"],
      // What ran is in build/src/; a bundle's functions that never ran would be mapped back as if they had. What never ran
      // at all is found in src/.
      ...["--all", "--src", "src", "--include", "build/src/**/*.js", "--include", "src/**/*.ts"],
      ...["--exclude", "**/*.generated.*", "--exclude", "**/src/index.*", "--exclude", "**/src/loader.*"],
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
