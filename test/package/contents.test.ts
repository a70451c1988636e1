/** What `npm pack` puts into the package. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { describe, it } from "node:test";
import { inRoot, ROOT } from "../support/paths.js";

interface Packed {
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string; readonly size: number; readonly mode: number }[];
}

interface Contents {
  readonly packedFiles: (folder?: string) => Packed;
  readonly contentsList: (packed: Packed) => string;
}

const { packedFiles, contentsList }: Contents = await import(
  `file://${inRoot("scripts/package-contents.mjs")}`
);
const packed = packedFiles();
const paths = packed.files.map(({ path }) => path);

describe("the package", () => {
  it("holds what test/package/contents.txt lists (npm run package:contents makes it)", () => {
    const listed = readFileSync(inRoot("test/package/contents.txt"), "utf8");
    assert.deepEqual(contentsList(packed).split("\n"), listed.split("\n"));
  });

  it("holds what package.json points to", () => {
    const targets: string[] = [];
    const collect = (value: unknown): void => {
      if (typeof value === "string") targets.push(value.replace(/^\.\//, ""));
      else if (typeof value === "object" && value !== null)
        for (const each of Object.values(value)) collect(each);
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

  it("holds licences, notices, the changelog and how to report what is wrong", () => {
    for (const path of [
      "LICENSE",
      "NOTICE",
      "README.md",
      "CHANGELOG.md",
      "SECURITY.md",
      "licenses/Apache-2.0.txt",
    ]) {
      assert.ok(paths.includes(path), path);
    }
  });

  it("holds no test, no source, no script, and nothing of what made it", () => {
    for (const path of paths) {
      assert.doesNotMatch(path, /^(src|test|bench|assembly|scripts|build|node_modules|\.)/);
      assert.doesNotMatch(path, /\.(tgz|tap|log|pem|key|env)$|(^|\/)\./);
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

  it("has one file that can be executed, the command, and sizes that a user would expect", () => {
    const executable = packed.files.filter(({ mode }) => (mode & 0o111) !== 0).map(({ path }) => path);
    assert.deepEqual(executable, ["dist/cli.js"]);
    for (const { path, mode } of packed.files) assert.equal(mode & 0o7022, 0, path);
    assert.ok(packed.size < 1_500_000, `${packed.size} bytes, packed`);
    const documents = packed.files.filter(({ path }) => /^(docs|examples)\//.test(path));
    const size = documents.reduce((sum, each) => sum + each.size, 0);
    assert.ok(size < packed.unpackedSize / 10, `${size} of ${packed.unpackedSize} bytes are documents`);
  });

  it("has links in its documents that lead to files of the package or of the repository", () => {
    for (const path of paths.filter((each) => each.endsWith(".md"))) {
      const text = readFileSync(inRoot(path), "utf8");
      for (const [, target = ""] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
        if (/^[a-z]+:/.test(target)) continue;
        const linked = new URL(target, `file:///${path}`).pathname.slice(1);
        assert.ok(existsSync(inRoot(linked)), `${path}: ${target}`);
      }
    }
  });
});
