// `npm start` and `npm test` do this before their job: packages from npm, programs from Debian, the build. Only what
// is missing is installed; nothing but Node itself is needed to run this.
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

// npm runs scripts in the package's folder; paths are meant from where the user stands.
const userFolder = process.env.INIT_CWD ?? process.cwd();
process.chdir(fileURLToPath(new URL("..", import.meta.url)));

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

/** True if a program is on the PATH, or a file is there. */
function isThere(tool) {
  const folders = tool.startsWith("/") ? [""] : (process.env.PATH ?? "").split(delimiter);
  return folders.some((folder) => existsSync(join(folder, tool)));
}

/**
 * Installs the Debian packages of programs that are missing, where apt and root are at hand; elsewhere names them
 * and ends with status 1. `tools` maps a program (or a file's path) to its package.
 */
export function ensureTools(tools) {
  const missing = Object.keys(tools).filter((tool) => !isThere(tool));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((tool) => tools[tool]))];
  const command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", ...packages];
  if (process.getuid?.() !== 0 || !isThere("apt-get")) {
    say(`missing: ${missing.join(", ")}; install them: ${command.join(" ")}`);
    process.exit(1);
  }
  say(`installing ${packages.join(" ")} (apt-get)`);
  const options = {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  };
  const [program, ...args] = command;
  // The package lists of a fresh machine are empty or old. An update that fails for one index out of many need not matter.
  if (spawnSync(program, args, { ...options, stdio: "ignore" }).status !== 0) {
    spawnSync(program, ["update", "-q"], options);
    run(program, args, options);
  }
  const still = missing.filter((tool) => !isThere(tool));
  if (still.length > 0) {
    say(`the packages ${packages.join(" ")} lack ${still.join(", ")}`);
    process.exit(1);
  }
}

/** npm run build. */
export function build() {
  say("building");
  run(process.execPath, ["scripts/build.mjs"]);
}

/** A path that the user has given. */
export const fromUser = (path) => resolve(userFolder, path);

/** Runs a program of this package where the user stands, and ends with its status. */
export function runForUser(program, ...args) {
  const { status } = spawnSync(process.execPath, [resolve(program), ...args], {
    stdio: "inherit",
    cwd: userFolder,
  });
  process.exitCode = status ?? 1;
}
