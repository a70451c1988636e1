// npm start [-- KERNEL …]: on a fresh clone, installs, builds, loads a kernel (the embedded guest by default), says
// where everything went and how long it took, and boots it in QEMU.
import { spawnSync } from "node:child_process";
import { build, ensurePackages, ensureTools } from "./setup.mjs";

ensurePackages();
build();
ensureTools({ "qemu-system-x86_64": "qemu-system-x86" });
const { status } = spawnSync(process.execPath, ["dist/cli.js", "boot", ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
