// dist/: src/ in few files, since each file that a process imports costs it half a millisecond.
//
//   index.js loader.js inspect.js v86.js cli.js    entries
//        └──► linux   open, unpack, plan, apply; loads the planners and decoders.js on demand
//        └──► x86     │ the planner and all that it has to itself: loadLinuxSync has both at hand
//        └──► arm64   │
//             └──► core   guest memory, sources, plans, importers
//   decoders.js ──► base   errors, WebAssembly
import { resolve } from "node:path";
import { build } from "esbuild";

/**
 * esbuild makes a chunk of the modules that the same entries reach. Each entry but the decoders' reaches all that
 * index.ts does, used or not, so that there are few such sets. Bundlers drop what is not used: nothing has side effects.
 */
const reachIndex = {
  name: "reach-index",
  setup({ onResolve, onLoad }) {
    const src = resolve("src");
    onResolve({ filter: /^entry:/ }, ({ path }) => ({ path: path.slice(6), namespace: "entry" }));
    onLoad({ filter: /./, namespace: "entry" }, ({ path }) => ({
      contents: `${path.startsWith("cli/") ? "#!/usr/bin/env node\n" : ""}import "./index.ts";
import "./${path}.ts";
export * from "./${path}.ts";`,
      resolveDir: src,
    }));
    onResolve({ filter: /./, namespace: "entry" }, ({ path }) => ({
      path: resolve(src, path),
      sideEffects: true,
    }));
  },
};

/** Writes dist/: entries and programs are names of files, each with its module in src/. */
export async function bundle(entries, programs) {
  const entryPoints = Object.entries({ ...entries, ...programs }).map(([out, path]) => ({
    out,
    in: out === "decoders" ? `src/${path}.ts` : `entry:${path}`,
  }));
  await build({
    entryPoints,
    plugins: [reachIndex],
    outdir: "dist",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    // crc-32 is CommonJS.
    mainFields: ["main"],
    external: ["node:*"],
    chunkNames: "[name]-[hash]",
    sourcemap: true,
    // Names stay, which are in messages and stack traces, and /* @__PURE__ */ for bundlers, which minifying white space drops.
    minifySyntax: true,
    legalComments: "inline",
    // All that an entry reaches is in its set: see above.
    treeShaking: false,
    logLevel: "warning",
  });
}
