/** docs/dependencies.md, package.json, package-lock.json and what is really in dist/ agree. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { runProgram } from "../support/command.js";
import { inRoot, ROOT } from "../support/paths.js";

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies?: unknown;
  readonly peerDependencies?: unknown;
  readonly bundleDependencies?: unknown;
}

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const manifest: Manifest = JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
const lock: { readonly lockfileVersion: number; readonly packages: Readonly<Record<string, Locked>> } =
  JSON.parse(readFileSync(inRoot("package-lock.json"), "utf8"));
const installed = Object.entries(lock.packages).filter(([path]) => path !== "");
const production = installed.filter(([, { dev }]) => dev !== true).map(([path]) => path);
const page = readFileSync(inRoot("docs/dependencies.md"), "utf8");
const rows = page
  .split("\n")
  .filter((line) => /^\| [@a-z]/.test(line) && !line.startsWith("| package "))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

const nameOf = (path: string): string => path.replace(/^.*node_modules\//, "");

/** The package that a source map's source belongs to; undefined if it is ours. */
function packageOf(source: string): string | undefined {
  return /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(source)?.[1];
}

function distFiles(suffix: string): string[] {
  return readdirSync(inRoot("dist"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(suffix))
    .map((name) => inRoot(`dist/${name}`));
}

const folder = mkdtempSync(join(tmpdir(), "directboot-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

describe("docs/dependencies.md", () => {
  it("has of each package the version, the licence and the integrity that the lock file has, and a reason", () => {
    assert.ok(rows.length >= 2);
    for (const [name = "", version, license, integrity, what, why] of rows) {
      const locked = lock.packages[`node_modules/${name}`];
      assert.ok(locked !== undefined, `${name} is not in package-lock.json`);
      assert.equal(version, locked.version, name);
      assert.equal(license, locked.license, name);
      assert.equal(integrity, `\`${locked.integrity}\``, name);
      for (const cell of [what, why]) assert.ok((cell?.length ?? 0) > 10, name);
    }
  });

  it("has every package of package.json's dependencies, and theirs", () => {
    const names = rows.map(([name]) => name);
    for (const path of production) assert.ok(names.includes(nameOf(path)), `${path} is missing`);
    assert.deepEqual(production.map(nameOf).sort(), Object.keys(manifest.dependencies).sort());
    for (const path of production) assert.deepEqual(lock.packages[path]?.dependencies ?? {}, {}, path);
  });

  it("has every package whose code is in dist/, and none else", async () => {
    const found = new Set<string>();
    for (const map of distFiles(".js.map")) {
      const { sources }: { sources: readonly string[] } = JSON.parse(readFileSync(map, "utf8"));
      for (const source of sources) {
        const name = packageOf(source);
        if (name !== undefined) found.add(name);
        else assert.match(source, /^(\.\.\/)+(src|node_modules)\//, `${map}: ${source}`);
      }
    }
    // The compiler's own parts of the WebAssembly stand in its source maps.
    for (const entry of ["hot-paths", "decoders"]) {
      const wasm = join(folder, `${entry}.wasm`);
      const { status, stderr } = await runProgram(
        process.execPath,
        [
          ...["node_modules/assemblyscript/bin/asc.js", `assembly/${entry}.ts`, "--target", entry],
          ...["--sourceMap", "--outFile", wasm],
        ],
        { cwd: ROOT },
      );
      assert.equal(status, 0, stderr);
      const { sources }: { sources: readonly string[] } = JSON.parse(readFileSync(`${wasm}.map`, "utf8"));
      for (const source of sources) {
        if (source.startsWith("~lib/")) found.add("assemblyscript");
        else assert.match(source, /^assembly\//);
      }
    }
    assert.deepEqual([...found].sort(), rows.map(([name]) => name).sort());
  });

  it("says of each licence what NOTICE says, whose text is in the package", () => {
    const notice = readFileSync(inRoot("NOTICE"), "utf8");
    for (const [name = "", , license = ""] of rows) {
      assert.ok(notice.includes(`\n  ${name}`), `NOTICE does not name ${name}`);
      assert.ok(readdirSync(inRoot("licenses")).includes(`${license}.txt`), license);
    }
  });
});

describe("dist/", () => {
  it("imports nothing at run time but its own files and Node's modules", () => {
    const files = distFiles(".js");
    assert.ok(files.length > 5);
    for (const file of files) {
      const text = readFileSync(file, "utf8");
      const statements = text.matchAll(/^\s*(?:import|export)\b[^;"'`]*?(?:from\s*)?["']([^"'\n]+)["'];?$/gm);
      const dynamic = text.matchAll(/\bimport\(\s*["']([^"'\n]+)["']\s*\)/g);
      for (const [statement, specifier = ""] of [...statements, ...dynamic]) {
        assert.match(specifier, /^(\.\.?\/|node:)/, `${file}: ${statement}`);
      }
    }
  });
});

describe("versions", () => {
  const EXACT = /^\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$/;

  it("are exact in package.json, of run-time and development packages, and there is no other kind", () => {
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
      assert.match(version, EXACT, name);
    }
    for (const kind of ["optionalDependencies", "peerDependencies", "bundleDependencies"] as const) {
      assert.equal(manifest[kind], undefined);
    }
  });

  it("are those of package-lock.json, where each package has an integrity and comes from the registry", () => {
    assert.equal(lock.lockfileVersion, 3);
    assert.deepEqual(lock.packages[""]?.dependencies, manifest.dependencies);
    assert.deepEqual(lock.packages[""]?.devDependencies, manifest.devDependencies);
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
      assert.equal(lock.packages[`node_modules/${name}`]?.version, version, name);
    }
    for (const [path, { version, integrity, resolved, link }] of installed) {
      assert.match(version, EXACT, path);
      assert.match(integrity ?? "", /^sha512-[A-Za-z0-9+/]{86}==$/, path);
      assert.notEqual(link, true, path);
      if (resolved !== undefined) assert.match(resolved, /^https:\/\/registry\.npmjs\.org\//, path);
    }
  });
});

describe("scripts that run at an installation", () => {
  it("are not ours", () => {
    // The life cycle of `npm install`, and of an installation from git: npm's documentation, "scripts".
    for (const name of [
      "preinstall",
      "install",
      "postinstall",
      "preprepare",
      "prepare",
      "postprepare",
      "dependencies",
    ]) {
      assert.equal(manifest.scripts[name], undefined, name);
    }
    assert.ok(!readdirSync(ROOT).includes("binding.gyp"), "npm would run node-gyp");
  });

  it("are those of no production package, and of one for development alone, which the page names", () => {
    const withScripts = installed.filter(([, { hasInstallScript }]) => hasInstallScript === true);
    for (const [path, { dev }] of withScripts) {
      assert.equal(dev, true, path);
      assert.ok(
        page.includes(`only\n  ${nameOf(path)} has one`) || page.includes(`only ${nameOf(path)} has one`),
        path,
      );
    }
    assert.deepEqual(
      withScripts.map(([path]) => nameOf(path)),
      ["esbuild"],
    );
  });
});
