/** The package as `npm pack` makes it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { describe, it } from "node:test";
import { inRoot, ROOT } from "../support/paths.js";

interface Packed {
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string; readonly size: number; readonly mode: number }[];
}

// Without prepack, which builds: this looks at what is there.
const told: unknown = JSON.parse(
  execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 16 << 20,
  }),
);
const packed = Object.values(told as Record<string, Packed>)[0] ?? assert.fail("npm pack tells nothing");
const paths = packed.files.map(({ path }) => path);

/** All that may be in the package. */
const ALLOWED = [
  /^(CHANGELOG|README|SECURITY)\.md$|^(LICENSE|NOTICE|package\.json)$|^licenses\/[\w.-]+\.txt$/,
  /^docs\/([\w-]+\/)*[\w-]+\.md$/,
  /^examples\/(browser\/)?[\w-]+\.(mjs|js|html|md)$/,
  /^guests\/(x86_64\.elf|aarch64\.img)$/,
  /^dist\/[\w-]+\.(js|js\.map|wasm)$/,
  /^dist\/types\/([\w-]+\/)*[\w-]+\.d\.ts$/,
];

describe("the package", () => {
  it("holds code, types, documents, examples and guests, and nothing else", () => {
    assert.deepEqual(
      paths.filter((path) => !ALLOWED.some((allowed) => allowed.test(path))),
      [],
    );
    for (const path of ["LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "licenses/Apache-2.0.txt"]) {
      assert.ok(paths.includes(path), path);
    }
  });

  it("holds what package.json points to", () => {
    const targets: string[] = [];
    const collect = (value: unknown): void => {
      if (typeof value === "string") targets.push(value.replace(/^\.\//, ""));
      else if (typeof value === "object" && value !== null) Object.values(value).forEach(collect);
    };
    const manifest = JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
    collect(manifest.exports);
    collect(manifest.bin);
    assert.ok(targets.length >= 7);
    for (const target of targets) assert.ok(paths.includes(target), target);
  });

  it("holds what the files in it import", () => {
    for (const path of paths.filter((each) => /^dist\/.*\.(js|d\.ts)$/.test(each))) {
      const text = readFileSync(inRoot(path), "utf8");
      for (const [, specifier = ""] of text.matchAll(/(?:from|import|import\()\s*["'](\.\.?\/[^"'?]+)/g)) {
        const target = new URL(specifier, `file:///${path}`).pathname.slice(1);
        const declared = target.replace(/\.js$/, ".d.ts");
        assert.ok(paths.includes(target) || paths.includes(declared), `${path}: ${specifier}`);
      }
    }
  });

  it("says nowhere where it was made, nor by whom", () => {
    const told = [ROOT.replace(/\/$/, ""), homedir(), `/home/${userInfo().username}`].filter(
      (each) => each.length > 1,
    );
    for (const path of paths.filter((each) => !each.endsWith(".wasm"))) {
      const text = readFileSync(inRoot(path), "latin1");
      for (const each of told) assert.ok(!text.includes(`${each}/`), `${path} says ${each}`);
    }
  });

  it("has one file that can be executed, the command; at most 16 files of code; at most 800 KB", () => {
    const executable = packed.files.filter(({ mode }) => (mode & 0o111) !== 0).map(({ path }) => path);
    assert.deepEqual(executable, ["dist/cli.js"]);
    for (const { path, mode } of packed.files) assert.equal(mode & 0o7022, 0, path);
    const code = paths.filter((path) => /^dist\/.*\.js$/.test(path));
    assert.ok(code.length <= 16, code.join(", "));
    assert.ok(packed.size <= 800_000, `${packed.size} bytes, packed`);
  });
});
