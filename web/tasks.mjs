// npm run web: the page with a development server, in a browser. npm run web:build: static files in build/web, for any
// path of any server.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { build, createServer } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const inRoot = (path) => `${root}${path}`;
const require = createRequire(import.meta.url);

/** The built page's own policy: nothing leaves it. Workers have the policy that the server sends, if any. */
const POLICY = [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const policy = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    {
      tag: "meta",
      attrs: { "http-equiv": "Content-Security-Policy", content: POLICY },
      injectTo: "head-prepend",
    },
  ],
};

/** The licences of what is built in. */
const licenses = {
  name: "licenses",
  apply: "build",
  generateBundle() {
    const texts = [
      ["directboot", inRoot("LICENSE")],
      ["directboot, NOTICE", inRoot("NOTICE")],
      ["crc-32 (Apache-2.0)", inRoot("licenses/Apache-2.0.txt")],
      ["v86", require.resolve("v86/LICENSE")],
      ["@xterm/xterm", require.resolve("@xterm/xterm/LICENSE")],
      ["@xterm/addon-fit", require.resolve("@xterm/addon-fit/LICENSE")],
    ].map(([name, path]) => `${name}\n${"=".repeat(name.length)}\n\n${readFileSync(path, "utf8").trim()}\n`);
    this.emitFile({ type: "asset", fileName: "licenses.txt", source: texts.join("\n\n") });
  },
};

const config = {
  configFile: false,
  root: inRoot("web"),
  // Relative: the page works wherever it is put.
  base: "./",
  resolve: {
    alias: [
      { find: /^directboot$/, replacement: inRoot("src/index.ts") },
      { find: /^directboot\/v86$/, replacement: inRoot("src/hosts/v86.ts") },
      // v86 asks for these under Node alone.
      {
        find: /^(fs|crypto|perf_hooks|node:crypto|node:fs\/promises)$/,
        replacement: inRoot("web/src/no-node.ts"),
      },
      { find: /^directboot\/decoders$/, replacement: inRoot("src/decoders/index.ts") },
      { find: /^directboot\/inspect$/, replacement: inRoot("src/inspect/index.ts") },
    ],
  },
  cacheDir: inRoot("build/vite"),
  // Workers are no imports: what only they need would be found when the first starts, and the page would be loaded again.
  optimizeDeps: { entries: ["index.html", "src/**/*.ts"] },
  worker: { format: "es" },
  build: {
    outDir: inRoot("build/web"),
    emptyOutDir: true,
    target: "es2022",
    // A data: URL would need a looser policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The emulator and the terminal are what they are.
    chunkSizeWarningLimit: 1024,
  },
  // The address is printed, too, for whoever has no browser here.
  server: { open: true, fs: { allow: [root, realpathSync(inRoot("node_modules"))] } },
  plugins: [policy, licenses],
  logLevel: "warn",
};

if (!existsSync(inRoot("src/decoders/decoders-wasm.generated.ts"))) {
  process.stderr.write("the WebAssembly is not built yet: npm run build\n");
  process.exit(1);
}
const [task = "serve"] = process.argv.slice(2);
if (task === "build") {
  // Vite takes the types off without looking at them.
  const { status } = spawnSync(
    process.execPath,
    [require.resolve("typescript/bin/tsc"), "-p", inRoot("web")],
    {
      stdio: "inherit",
    },
  );
  if (status !== 0) process.exit(1);
  await build(config);
  process.stdout.write("build/web/ has the page: serve it as it is, at any path\n");
} else if (task === "serve") {
  const server = await createServer({ ...config, logLevel: "info" });
  await server.listen();
  server.printUrls();
} else {
  process.stderr.write(`there is no task ${task}; the tasks are serve and build\n`);
  process.exit(2);
}
