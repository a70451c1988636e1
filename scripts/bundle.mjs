// dist/: src/ in few files, since each file that a process imports costs it half a millisecond.
//
//   index.js loader.js inspect.js decoders.js v86.js cli.js    entries
//        └──► linux   open, unpack, plan, apply; loads the planners and decoders.js on demand
//        └──► x86     │ the planner and all that it has to itself: loadLinuxSync has both at hand
//        └──► arm64   │
//             └──► core   guest memory, sources, plans, importers, WebAssembly, errors
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { build } from "esbuild";

/**
 * esbuild makes a chunk of the modules that the same entries reach. Here each entry reaches all that index.ts does, used
 * or not, so that there are few such sets. Bundlers drop what is not used: nothing has side effects.
 */
const reachIndex = (paths) => ({
  name: "reach-index",
  setup({ onResolve, onLoad }) {
    const modules = new Set(paths.map((path) => resolve(path)));
    const index = resolve("src/index.ts");
    onResolve({ filter: /^all-of-index$/ }, () => ({ path: index }));
    onLoad({ filter: /\.ts$/ }, ({ path }) =>
      modules.has(path) && path !== index
        ? { contents: `${readFileSync(path, "utf8")}\nimport "all-of-index";`, loader: "ts" }
        : undefined,
    );
  },
});

/** Writes dist/: `entries` are names of files, each with its module. */
export async function bundle(entries) {
  const { metafile } = await build({
    metafile: true,
    entryPoints: entries,
    plugins: [reachIndex(Object.values(entries))],
    outdir: "dist",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    // crc-32 is CommonJS.
    mainFields: ["main"],
    // The same bytes in every folder, wherever node_modules really lies.
    preserveSymlinks: true,
    external: ["node:*"],
    chunkNames: "[name]-[hash]",
    sourcemap: true,
    // Names stay, which are in messages and stack traces, and /* @__PURE__ */ for bundlers, which minifying white space drops.
    minifySyntax: true,
    legalComments: "inline",
    // All that an entry reaches is in its set: see above.
    treeShaking: false,
    logLevel: "warning",
    // That of index.ts, which is there for its reach.
    logOverride: { "ignored-bare-import": "silent" },
  });
  // The command is a program: nobody steps through it, and its map is a twentieth of the package.
  rmSync("dist/cli.js.map");
  writeFileSync(
    "dist/cli.js",
    readFileSync("dist/cli.js", "utf8").replace(/\n\/\/# sourceMappingURL=.*\n?$/, "\n"),
  );
  // esbuild names a class that refers to itself _Class: users would see that in messages and in the console. A space makes
  // up for the underscore, so that source maps hold.
  for (const file of Object.keys(metafile.outputs).filter((name) => name.endsWith(".js"))) {
    const text = readFileSync(file, "utf8");
    const names = [...text.matchAll(/\bclass _(\w+)/g)].map(([, name]) => name);
    const own = new RegExp(`\\b_(${names.join("|")})\\b`, "g");
    if (names.length > 0) writeFileSync(file, text.replace(own, "$1 "));
  }
}
