/** The bundlers, each as its documentation has it for a page: production, minified, ES modules, code split. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build as esbuild, transform } from "esbuild";
import { rollup } from "rollup";
import { build as vite } from "vite";
import webpack from "webpack";

export const BUNDLERS = ["esbuild", "rollup", "vite", "webpack"] as const;
export type Bundler = (typeof BUNDLERS)[number];

/** Conditions of an export, as a bundler for pages takes them. */
const CONDITIONS = new Set(["browser", "import", "module", "default"]);

/** Rollup resolves no packages by itself: what its node-resolve plugin does for exports of objects with conditions. */
function resolvePackage(folder: string, id: string): string | undefined {
  const [name = "", ...rest] = id.split("/");
  const root = join(folder, "node_modules", name);
  if (!existsSync(join(root, "package.json"))) return undefined;
  const { exports }: { exports: Record<string, Record<string, string>> } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  const conditions = exports[[".", ...rest].join("/")] ?? {};
  const target = Object.entries(conditions).find(([condition]) => CONDITIONS.has(condition));
  return target === undefined ? undefined : join(root, target[1]);
}

/** Modules of the package that may have effects: those that package.json names. */
function hasNoEffects(path: string): boolean {
  return path.includes("/node_modules/directboot/dist/") && !/\/dist\/(workerd|edge-light)\.js/.test(path);
}

async function withRollup(folder: string, entry: string, output: string): Promise<void> {
  const bundle = await rollup({
    input: join(folder, entry),
    onLog: (level, log) => {
      if (level === "warn") throw new Error(log.message);
    },
    plugins: [
      {
        name: "packages",
        resolveId(id) {
          const path = resolvePackage(folder, id);
          return path === undefined ? null : { id: path, moduleSideEffects: !hasNoEffects(path) };
        },
        load(path) {
          return hasNoEffects(path) ? { code: readFileSync(path, "utf8"), moduleSideEffects: false } : null;
        },
      },
    ],
  });
  const { output: files } = await bundle.generate({ format: "es", entryFileNames: "main.js" });
  for (const file of files) {
    if (file.type !== "chunk") continue;
    // Rollup minifies nothing by itself.
    const { code } = await transform(file.code, { minify: true, format: "esm" });
    writeFileSync(join(output, file.fileName), code);
  }
}

async function withWebpack(folder: string, entry: string, output: string): Promise<void> {
  const compiler = webpack({
    mode: "production",
    context: folder,
    entry: `./${entry}`,
    output: { path: output, filename: "main.js", chunkFilename: "chunk-[id].js", publicPath: "auto" },
    target: "web",
    performance: false,
  });
  await new Promise<void>((resolve, reject) => {
    compiler?.run((error, stats) => {
      if (error !== null) reject(error);
      else if (stats === undefined || stats.hasErrors() || stats.hasWarnings()) {
        reject(new Error(stats?.toString()));
      } else compiler.close(() => resolve());
    });
  });
}

/**
 * Bundles `entry` of the project `folder` into main.js, and what it splits off, in `output`. `splitting` is esbuild's
 * alone: the others always do. With it, esbuild keeps what is imported on demand by code that nobody uses.
 */
export async function bundleFor(
  bundler: Bundler,
  folder: string,
  entry: string,
  output: string,
  splitting = true,
): Promise<void> {
  mkdirSync(output, { recursive: true });
  if (bundler === "rollup") await withRollup(folder, entry, output);
  else if (bundler === "webpack") await withWebpack(folder, entry, output);
  else if (bundler === "esbuild") {
    const { warnings } = await esbuild({
      entryPoints: { main: join(folder, entry) },
      outdir: output,
      bundle: true,
      minify: true,
      splitting,
      format: "esm",
      platform: "browser",
      logLevel: "silent",
    });
    if (warnings.length > 0) throw new Error(JSON.stringify(warnings));
  } else {
    await vite({
      root: folder,
      configFile: false,
      logLevel: "error",
      // Chunks are found beside main.js, wherever that is served.
      base: "./",
      build: {
        outDir: output,
        emptyOutDir: false,
        rollupOptions: { input: join(folder, entry), output: { entryFileNames: "main.js" } },
      },
    });
  }
}
