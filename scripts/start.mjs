// npm start [-- KERNEL …]: on a fresh clone, installs, builds, loads a kernel (the embedded guest by default), says
// where everything went and how long it took, and boots it in QEMU.
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readSync } from "node:fs";
import { resolve } from "node:path";
import { build, ensurePackages, ensureTools } from "./setup.mjs";

/** True for a file with the magic of an arm64 Image (booting.rst: "ARM\x64" at 56). */
function isArm64Image(path) {
  try {
    const head = Buffer.alloc(60);
    const file = openSync(path, "r");
    readSync(file, head, 0, 60, 0);
    closeSync(file);
    return head.toString("latin1", 56) === "ARM\x64";
  } catch {
    return false;
  }
}

ensurePackages();
build();
// npm runs scripts in the package's folder; paths are meant from where the user stands.
const cwd = process.env.INIT_CWD ?? process.cwd();
const args = process.argv.slice(2);
ensureTools(
  args.some((arg) => isArm64Image(resolve(cwd, arg)))
    ? { "qemu-system-aarch64": "qemu-system-arm" }
    : { "qemu-system-x86_64": "qemu-system-x86" },
);
const command = [resolve("dist/cli.js"), "boot", ...args];
const { status } = spawnSync(process.execPath, command, { stdio: "inherit", cwd });
process.exitCode = status ?? 1;
