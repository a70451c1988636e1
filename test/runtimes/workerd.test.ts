/**
 * The packed package in workerd, which forbids compiling WebAssembly from bytes: bundled as wrangler does it, by esbuild
 * with the condition `workerd` and the .wasm files left beside as modules.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { build, type Plugin } from "esbuild";
import { runProgram } from "../support/command.js";
import { tempFolder } from "../support/temp-folder.js";
import { runtimeProgram } from "./support/binaries.js";
import { checkReport } from "./support/expected.js";
import { smokeProject } from "./support/project.js";

const COMPATIBILITY_DATE = "2026-10-01";
const project = join(tempFolder(), "project");
mkdirSync(project);
smokeProject(project);

/** Bundles `contents`; gives the names of the .wasm files that it imports, which lie beside it. */
async function bundle(folder: string, contents: string, conditions: readonly string[]): Promise<string[]> {
  const modules = new Set<string>();
  const wasm: Plugin = {
    name: "wasm",
    setup: (setup) => {
      setup.onResolve(
        { filter: /\.wasm(\?module)?$|^directboot\/wasm/ },
        async ({ path, resolveDir, pluginData }) => {
          if (pluginData === "wasm") return undefined;
          const options = { resolveDir, kind: "import-statement", pluginData: "wasm" } as const;
          const resolved = await setup.resolve(path.replace(/\?module$/, ""), options);
          const name = basename(resolved.path);
          modules.add(name);
          copyFileSync(resolved.path, join(folder, name));
          return { path: `./${name}`, external: true };
        },
      );
    },
  };
  await build({
    stdin: { contents, resolveDir: project, loader: "js" },
    outfile: join(folder, "main.js"),
    bundle: true,
    format: "esm",
    target: "es2022",
    conditions: [...conditions],
    // As wrangler does: what is there only under the flag nodejs_compat is none of the bundle's.
    external: ["node:*"],
    plugins: [wasm],
  });
  return [...modules].sort();
}

async function runInWorkerd(
  name: string,
  contents: string,
  conditions: readonly string[],
  flags: readonly string[],
): Promise<{ readonly stdout: string; readonly modules: readonly string[] }> {
  const folder = join(project, name);
  mkdirSync(folder);
  const modules = await bundle(folder, contents, conditions);
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (
  modules = [
    (name = "main.js", esModule = embed "main.js"),
    ${modules.map((file) => `(name = "${file}", wasm = embed "${file}"),`).join("\n    ")}
  ],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  compatibilityFlags = [${flags.map((flag) => `"${flag}"`).join(", ")}],
))]);
`;
  writeFileSync(join(folder, "config.capnp"), config);
  const { status, stdout, stderr } = await runProgram(runtimeProgram("workerd"), ["test", "config.capnp"], {
    cwd: folder,
  });
  assert.equal(status, 0, stderr);
  return { stdout, modules };
}

const MAIN = `import { run } from "./run.js";
export default { async test() { console.log(JSON.stringify(await run())); } };
`;
const BOTH = ["decoders.wasm", "hot-paths.wasm"];

describe("workerd runs the packed package", () => {
  it("with the WASM of its export condition, as modules, and no thread", async () => {
    const { stdout, modules } = await runInWorkerd("condition", MAIN, ["workerd", "worker", "browser"], []);
    assert.deepEqual(modules, BOTH);
    await checkReport(stdout, {
      implementation: "wasm",
      sharedHotPaths: "javascript",
      hasPaths: false,
    });
  });

  it("with the flag nodejs_compat just so", async () => {
    const conditions = ["workerd", "worker", "browser"];
    const { stdout } = await runInWorkerd("compat", MAIN, conditions, ["nodejs_compat"]);
    await checkReport(stdout, {
      implementation: "wasm",
      sharedHotPaths: "javascript",
      hasPaths: false,
    });
  });

  it("with the modules of the condition edge-light, whose bundlers know them by ?module", async () => {
    const { stdout, modules } = await runInWorkerd(
      "edge-light",
      MAIN,
      ["edge-light", "worker", "browser"],
      [],
    );
    assert.deepEqual(modules, BOTH);
    await checkReport(stdout, {
      implementation: "wasm",
      sharedHotPaths: "javascript",
      hasPaths: false,
    });
  });

  it("with modules that the caller hands in, where a bundler does not know the condition", async () => {
    const contents = `import { hotPaths } from "directboot";
import { decoders } from "directboot/decoders";
import hotPathsModule from "directboot/wasm";
import decodersModule from "directboot/wasm/decoders";
hotPaths.use(hotPathsModule);
decoders.use(decodersModule);
${MAIN}`;
    const { stdout, modules } = await runInWorkerd("handed-in", contents, ["browser"], []);
    assert.deepEqual(modules, BOTH);
    await checkReport(stdout, {
      implementation: "wasm",
      sharedHotPaths: "javascript",
      hasPaths: false,
    });
  });

  it("with the twins, where there is no module", async () => {
    const { stdout, modules } = await runInWorkerd("twins", MAIN, ["browser"], []);
    assert.deepEqual(modules, []);
    await checkReport(stdout, { implementation: "javascript", hasPaths: false });
  });
});
