/** Which branches of the parsers a run of the fuzzer reaches, by V8's own counters and c8. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inRoot } from "../support/paths.js";

/** What parses or checks what comes from outside. */
export const PARSERS: readonly string[] = [
  "src/images/*.ts",
  "src/firmware/*.ts",
  "src/decoders/*.ts",
  "src/plan/*.ts",
  "src/memory/memory-layout.ts",
  "src/memory/memory-range.ts",
  "src/memory/range-set.ts",
  "src/importers/file-region.ts",
  "src/plan/command-line.ts",
  "src/plan/segments.ts",
  "src/linux/decoding.ts",
  "src/linux/detect-kernel.ts",
  "src/linux/device-tree-file.ts",
  "src/linux/extract-kernel.ts",
  "src/linux/initrd-file.ts",
  "src/linux/kernel-file.ts",
  "src/linux/linux-plan.ts",
  "src/x86/boot-params.ts",
  "src/x86/e820.ts",
  "src/x86/setup-data.ts",
];

/** The least share of branches that the short run must reach, in per cent. */
export const LEAST_BRANCHES = 96;

/** A branch that was not reached. */
export interface Missed {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

export interface FileCoverage {
  readonly file: string;
  readonly covered: number;
  readonly total: number;
}

export interface Coverage {
  readonly files: readonly FileCoverage[];
  readonly missed: readonly Missed[];
  /** Per cent. */
  readonly branches: number;
  /** What the run wrote. */
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

interface IstanbulFile {
  readonly path: string;
  readonly branchMap: Readonly<
    Record<string, { readonly loc: { readonly start: { readonly line: number } } }>
  >;
  readonly b: Readonly<Record<string, readonly number[]>>;
}

/** Runs the fuzzer with these arguments in a process of its own, and gives what it reached. */
export function measure(parameters: readonly string[], folder: string): Coverage {
  rmSync(folder, { recursive: true, force: true });
  const raw = join(folder, "raw");
  mkdirSync(raw, { recursive: true });
  const run = spawnSync(process.execPath, [inRoot("build/test/fuzz/main.js"), ...parameters], {
    cwd: inRoot(""),
    env: { ...process.env, NODE_V8_COVERAGE: raw },
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  // Only src/ is of interest, and c8 is quicker without the rest.
  for (const file of readdirSync(raw)) {
    const path = join(raw, file);
    const report: { result: { url: string }[] } = JSON.parse(readFileSync(path, "utf8"));
    const result = report.result.filter(
      ({ url }) => url.includes("/build/src/") && !url.includes(".generated."),
    );
    if (result.length === 0) rmSync(path);
    else writeFileSync(path, JSON.stringify({ ...report, result }));
  }
  const c8 = spawnSync(
    process.execPath,
    [
      inRoot("node_modules/c8/bin/c8.js"),
      "report",
      ...["--temp-directory", raw, "--exclude-after-remap", "--reporter", "json", "--reports-dir", folder],
      ...["--src", "src", ...PARSERS.flatMap((pattern) => ["--include", pattern])],
      ...["--exclude", "**/*.generated.ts", "--exclude", "src/decoders/index.ts"],
    ],
    { cwd: inRoot(""), encoding: "utf8" },
  );
  if (c8.status !== 0) throw new Error(`c8 failed: ${c8.stderr}`);
  const files: FileCoverage[] = [];
  const missed: Missed[] = [];
  const all: Record<string, IstanbulFile> = JSON.parse(
    readFileSync(join(folder, "coverage-final.json"), "utf8"),
  );
  for (const { path, branchMap, b } of Object.values(all)) {
    const lines = readFileSync(path, "utf8").split("\n");
    const file = path.slice(inRoot("").length);
    const branches = Object.entries(b);
    const covered = branches.filter(([, [count = 0]]) => count > 0).length;
    files.push({ file, covered, total: branches.length });
    for (const [id, [count = 0]] of branches) {
      const line = branchMap[id]?.loc.start.line ?? 0;
      if (count === 0) missed.push({ file, line, text: lines[line - 1]?.trim() ?? "" });
    }
  }
  files.sort((a, b) => (a.file < b.file ? -1 : 1));
  const sum = (key: "covered" | "total"): number => files.reduce((total, each) => total + each[key], 0);
  const { stdout, stderr, status } = run;
  return { files, missed, branches: (100 * sum("covered")) / sum("total"), stdout, stderr, status };
}

/** Why a branch is not reached: by its file, and its text. */
const REASONS: readonly (readonly [file: RegExp, text: RegExp, reason: string])[] = [
  [
    /./,
    /\?\? (0|0n|""|other|Aarch64|ADDRESS_LIMIT|rootEnd)|\?\.tag/,
    "never undefined: what follows ?? is for the type checker",
  ],
  [
    /decoders\/(wasm|workspace)|linux\/decoding/,
    /catch|=== undefined|unavailable|SharedArray|never shared/,
    "needs a host without memory or without WebAssembly",
  ],
  [
    /memory\/|loading\/segments|x86\/|decoders\/xz|images\//,
    /\?\? (\[\]|1)|(undefined \|\| entry)/,
    "never undefined: what follows ?? is for the type checker",
  ],
  [/decoders\/wasm/, /providedModules/, "needs a bundle that provides the modules"],
  [
    /decoders\/workspace/,
    /tooLarge\(\)/,
    "needs output of almost 4 GiB, or a decoder that asks for more than its place has",
  ],
  [/plan\/apply/, /source === undefined/, "checkPlan() has refused the number of such a source before"],
  [/plan\/apply/, /!== total/, "needs memory that goes away while it is read into"],
  [
    /decoders\/decompress/,
    /the decoder stopped/,
    "a trap in the WASM would be a mistake in a decoder: none is known",
  ],
  [/decoders\/bzip2/, /MOST_INPUT_BYTES/, "needs 512 MiB of input"],
  [/decoders\/wasm/, /"auto"/, "chooses the decoders again: no part of an input"],
  [/setup-data/, /LIST_BYTES_MAX/, "needs 2 GiB of data"],
  [/segments/, /MOST_SHARED_PAGES/, "needs 1024 shared pages: test/loading has it"],
  [/device-tree/, /MAX_TREE_BYTES/, "needs a tree of 16 MiB: test/firmware has it"],
  [/device-tree/, /root === undefined/, "walk() has refused a tree without a root before"],
  [/./, /isStep|STEP_BYTES|update\(|window/, "needs several MiB in one block"],
  [/plan\/plan/, /./, "what the planners have checked before"],
];

/** Why it is not reached, or that it is a matter of luck. */
export function reasonOf({ file, text }: Missed): string {
  return (
    REASONS.find(([where, what]) => where.test(file) && what.test(text))?.[2] ??
    "not reached by these random numbers"
  );
}

/** The figures, a line for each file, and what was not reached. */
export function describeCoverage({ files, missed, branches }: Coverage): string {
  const rows = files.map(({ file, covered, total }) => {
    const share = total === 0 ? 100 : (100 * covered) / total;
    return `${file.padEnd(36)}${`${covered}/${total}`.padStart(10)}${`${share.toFixed(1)} %`.padStart(10)}`;
  });
  const lines = missed.map((each) => `${each.file}:${each.line}  ${each.text}\n    ${reasonOf(each)}`);
  return [
    ...rows,
    `${"all".padEnd(46)}${`${branches.toFixed(2)} %`.padStart(10)}`,
    "",
    "not reached:",
    ...lines,
  ].join("\n");
}
