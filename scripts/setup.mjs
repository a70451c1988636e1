// `npm start` and `npm test` do this before their job: packages from npm, programs from Debian, the build. Only what
// is missing is installed; nothing but Node itself is needed to run this.
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

/** Says on stderr what is done: stdout is for results. */
export const say = (text) => process.stderr.write(`directboot: ${text}\n`);

/** Runs a program; its failure ends this process with the same status. */
export function run(program, args, options = {}) {
  const { status, signal, error } = spawnSync(program, args, { stdio: ["ignore", 2, "inherit"], ...options });
  if (error !== undefined) {
    say(`${program} can't be run: ${error.message}`);
    process.exit(1);
  }
  if (status !== 0) {
    say(`${program} ${args.join(" ")} failed (${signal ?? `status ${status}`})`);
    process.exit(status ?? 1);
  }
}

const newest = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

/** npm ci in a folder, unless its node_modules is as new as its lock file. */
export function ensurePackages(folder = ".", ...options) {
  const lock = join(folder, "package-lock.json");
  if (newest(join(folder, "node_modules", ".package-lock.json")) >= newest(lock)) return;
  if (lstatSync(join(folder, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) {
    say("node_modules is a link, and older than package-lock.json: npm ci would empty what it leads to");
    process.exit(1);
  }
  say(`installing packages${folder === "." ? "" : ` of ${folder}`} (npm ci)`);
  run("npm", ["ci", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error", ...options]);
}

/** True if `program` is on the PATH. */
export function has(program) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/**
 * Installs the Debian packages of programs that are missing, where apt and root are at hand; elsewhere names them
 * and ends with status 1. `tools` maps a program (or a file's path) to its package.
 */
export function ensureTools(tools) {
  const isThere = (tool) => (tool.startsWith("/") ? existsSync(tool) : has(tool));
  const missing = Object.entries(tools).filter(([tool]) => !isThere(tool));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(([, name]) => name))];
  const names = missing.map(([tool]) => tool).join(", ");
  if (process.getuid?.() !== 0 || !has("apt-get")) {
    say(
      `missing: ${names}; install the packages ${packages.join(" ")} (apt-get install ${packages.join(" ")})`,
    );
    process.exit(1);
  }
  say(`installing ${packages.join(" ")} (apt-get)`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = () =>
    spawnSync("apt-get", ["install", "-y", "-q", "--no-install-recommends", ...packages], {
      stdio: ["ignore", "pipe", "pipe"],
      env,
    });
  // The package lists of a fresh machine are empty or old.
  let result = install();
  if (result.status !== 0) {
    // An update that fails for one index out of many need not matter: the install decides.
    spawnSync("apt-get", ["update", "-q"], { stdio: ["ignore", "ignore", "inherit"], env });
    result = install();
  }
  if (result.status !== 0) {
    say(`apt-get install failed:\n${result.stdout}${result.stderr}`);
    process.exit(1);
  }
  const still = missing.filter(([tool]) => !isThere(tool));
  if (still.length > 0) {
    say(`${still.map(([tool, name]) => `${tool} is not in ${name}`).join(", ")}`);
    process.exit(1);
  }
}

/** npm run build. */
export function build() {
  say("building");
  run(process.execPath, ["scripts/build.mjs"]);
}
