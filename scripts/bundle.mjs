// dist/: src/ in few and small files. Each file that a process imports costs it 0.5 ms, each 50 KB of code 1 ms. What a
// bundler makes of them counts as well: it leaves out what is not used, and keeps apart what is loaded on demand. So there
// are two layouts of the same code:
//
//   for Node, Bun and Deno             index.js ──► library.js  all that loadLinux and loadLinuxSync need, in one file
//   (condition `node`: dist/node/)
//
//   for all others: dist/
//
//   index.js ──► x86.js ───┐       index.js     the public face, and loadLinuxSync, which has the planners at hand
//        │  └──► arm64.js ─┤       x86.js       x86/ and its planner    } loaded by linux.js when they are needed,
//        │                 │       arm64.js     arm64/ and its planner  } as the decoders are
//        └──► linux.js ────┤       linux.js     what loads on demand, and what uses it: loadLinux
//   decoders.js, inspect.js ─┤
//                            ▼
//                         core.js   core.js      what all share: one class of errors, one GuestMemory
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { build as esbuild, transform as esbuildTransform } from "esbuild";
import MagicString from "magic-string";
import { rollup } from "rollup";
import { minify } from "terser";

const TARGET = "es2022";
const SRC = resolve("src");
const roomOf = (id) => relative(SRC, id).split("\\").join("/");

/** TypeScript by esbuild, packages of npm as ES modules. */
const sources = {
  name: "sources",
  resolveId(id, importer) {
    if (id.startsWith("node:")) return { id, external: true };
    if (importer === undefined) return resolve(id);
    if (id.startsWith(".")) {
      const path = resolve(dirname(importer), id).replace(/\.js$/, ".ts");
      if (!existsSync(path)) throw new Error(`${importer} imports ${id}, which is not there`);
      return path;
    }
    // Wherever node_modules really lies, the bundles say node_modules/: the same bytes in every folder.
    const { main } = JSON.parse(readFileSync(join("node_modules", id, "package.json"), "utf8"));
    return resolve("node_modules", id, main);
  },
  async load(id) {
    if (id.includes("/node_modules/")) {
      const { outputFiles } = await esbuild({
        entryPoints: [id],
        bundle: true,
        format: "esm",
        platform: "neutral",
        preserveSymlinks: true,
        target: TARGET,
        legalComments: "inline",
        write: false,
      });
      const { text } = outputFiles[0];
      // Rollup drops a comment with the statement that it stands at: a licence stands at the first one.
      const licences = [...text.matchAll(/\/\*!.*?\*\//gs)].join("\n");
      const exported = Object.keys((await import(pathToFileURL(id))).default);
      // A CommonJS package is run at its first use: crc-32 makes its tables then.
      const getters = (call) =>
        exported.map((name) => `get ${name}() { return ${call}.${name}; }`).join(", ");
      return `${licences}\n${text.replace(/^export default (require_\w+\(\));$/m, (_, call) => `export default { ${getters(call)} };`)}`;
    }
    return undefined;
  },
  async transform(code, id) {
    if (!id.endsWith(".ts")) return undefined;
    const { code: text, map } = await esbuildTransform(code, {
      loader: "ts",
      target: TARGET,
      sourcemap: true,
      sourcefile: id,
    });
    return { code: text, map };
  },
  // Classes and functions keep their names, which are in messages and stack traces; ASCII alone, since V8 holds
  // other text in twice the bytes; /* @__PURE__ */ stays for bundlers.
  async renderChunk(code) {
    const names = { keep_classnames: true, keep_fnames: true };
    const { code: text, map } = await minify(code, {
      ...names,
      module: true,
      ecma: 2020,
      compress: { ...names, inline: 0, reduce_funcs: false, toplevel: false },
      mangle: { ...names, toplevel: false },
      // Node shows the line that threw: it must not be the whole file.
      format: { comments: /^!/, ascii_only: true, preserve_annotations: true, max_line_len: 160 },
      sourceMap: { asObject: true },
    });
    return { code: text, map };
  },
};

/** Which file a module goes to for bundlers; undefined: that of the only entry that has it. */
function fileOf(index) {
  let above;
  let below;
  let loading;
  return (id, { getModuleInfo }) => {
    const reach = (from, next, found = new Set()) => {
      if (found.has(from)) return found;
      found.add(from);
      for (const each of next(getModuleInfo(from))) reach(each, next, found);
      return found;
    };
    const dependents = (ids) =>
      new Set(ids.flatMap((each) => [...reach(each, ({ importers }) => importers)]));
    const room = roomOf(id);
    if (/^(x86\/)/.test(room)) return "x86";
    if (/^(arm64\/)/.test(room)) return "arm64";
    if (above === undefined) {
      below = reach(index, ({ importedIds }) => importedIds);
      const all = [...below];
      above = dependents(all.filter((each) => /\/(x86|arm64)\/planner\.ts$/.test(each)));
      // webpack and Vite keep what a file imports on demand, even if the function that does it is not used.
      loading = dependents(all.filter((each) => getModuleInfo(each).dynamicallyImportedIds.length > 0));
    }
    if (!below.has(id) || above.has(id)) return undefined;
    return loading.has(id) ? "linux" : "core";
  };
}

/** Which file a module goes to for Node. */
function nodeFileOf(index) {
  let below;
  return (id, { getModuleInfo }) => {
    if (below === undefined) {
      below = new Set();
      const visit = (each) => {
        if (below.has(each)) return;
        below.add(each);
        const { importedIds, dynamicallyImportedIds } = getModuleInfo(each);
        for (const next of [...importedIds, ...dynamicallyImportedIds]) visit(next);
      };
      visit(index);
    }
    // The decoders and the inspector are for their entries and for the command.
    if (/^decoders\//.test(roomOf(id))) return "decoding";
    if (/^inspect\//.test(roomOf(id))) return "inspection";
    return id !== index && below.has(id) ? "library" : undefined;
  };
}

/**
 * Has V8 compile the functions of these names, at the top of library.js, when it parses them: it does so where a function
 * stands in parentheses. Others it parses twice, once to find their end and once when they are called.
 */
const eager = (names) => ({
  name: "eager",
  renderChunk(code, { name: chunk }) {
    if (chunk !== "library") return null;
    const text = new MagicString(code);
    for (const { type, id, start, end } of this.parse(code).body) {
      if (type !== "FunctionDeclaration" || !names.has(id.name)) continue;
      text.appendRight(start, `const ${id.name}=(`).appendLeft(end, ");");
    }
    return { code: text.toString(), map: text.generateMap({ hires: "boundary" }) };
  },
});

async function write(entries, output, plugins = []) {
  const bundled = await rollup({
    input: entries,
    plugins: [sources, ...plugins],
    treeshake: { moduleSideEffects: false },
    onwarn: ({ message }) => {
      throw new Error(message);
    },
  });
  await bundled.write({ dir: "dist", format: "es", sourcemap: true, ...output });
  await bundled.close();
}

/**
 * Writes dist/. Entries are names of files to paths of modules; `index` is one of `common`, which both layouts have.
 */
export async function bundle({ common, forBundlers, forNode }) {
  const index = resolve(common.index);
  await write(
    { ...common, ...forBundlers },
    { entryFileNames: "[name].js", chunkFileNames: "[name].js", manualChunks: fileOf(index) },
  );
  const node = {
    // What only Node has needs no folder to tell it from others'.
    entryFileNames: ({ name }) => (Object.hasOwn(common, name) ? `node/${name}.js` : `${name}.js`),
    chunkFileNames: "node/[name].js",
    manualChunks: nodeFileOf(index),
  };
  await write({ ...common, ...forNode }, node);
  const names = execFileSync(process.execPath, ["scripts/first-load.mjs", "dist/node/library.js"], {
    encoding: "utf8",
  });
  await write({ ...common, ...forNode }, node, [eager(new Set(JSON.parse(names)))]);
}
