// npm start [-- KERNEL …]: on a fresh clone, installs, builds, loads a kernel (the embedded guest by default), says
// where everything went and how long it took, and boots it in QEMU.
import { build, ensurePackages, ensureTools, fromUser, runForUser } from "./setup.mjs";

ensurePackages();
build();
const { detectKernel } = await import("../dist/index.js");
const args = process.argv.slice(2);
/** The architecture of a kernel; other arguments have none. */
const architectureOf = (arg) =>
  detectKernel(fromUser(arg)).then(
    (kernel) => kernel.architecture,
    () => undefined,
  );
ensureTools(
  (await Promise.all(args.map(architectureOf))).includes("aarch64")
    ? { "qemu-system-aarch64": "qemu-system-arm" }
    : { "qemu-system-x86_64": "qemu-system-x86" },
);
runForUser("dist/cli.js", "boot", ...args);
