/** A project that has the package as npm would publish it: packed, and unpacked into its node_modules. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inRoot, ROOT } from "../../support/paths.js";
import { inputsModule, smokeInputs } from "./inputs.js";

/** Packs the built package into `folder`; gives the tarball's path. */
export function packTarball(folder: string): string {
  // The scripts would build again.
  execFileSync("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], { cwd: ROOT });
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  assert.ok(tarball !== undefined, "npm pack made no tarball");
  return join(folder, tarball);
}

/** Unpacks the package, and nothing that it depends on, into node_modules of `folder`. */
export function installPacked(folder: string): string {
  const target = join(folder, "node_modules", "directboot");
  mkdirSync(target, { recursive: true });
  execFileSync("tar", ["-xzf", packTarball(folder), "-C", target, "--strip-components=1"]);
  return target;
}

/** A program that imports the package and runs the smoke suite: `specifier` says how an entry is called. */
export function runModule(specifier: (entry: "." | "./loader" | "./decoders") => string): string {
  return `import * as directboot from ${JSON.stringify(specifier("."))};
import * as loader from ${JSON.stringify(specifier("./loader"))};
import * as decoders from ${JSON.stringify(specifier("./decoders"))};
import { inputs } from "./inputs.js";
import { smoke } from "./smoke.js";
export const run = (options) => smoke(directboot, loader, decoders, inputs(), options);
`;
}

/** A project with the package and the smoke suite (run.js), as any user would import it. */
export function smokeProject(folder: string): void {
  installPacked(folder);
  copyFileSync(inRoot("build/test/runtimes/support/smoke.js"), join(folder, "smoke.js"));
  const files = {
    "package.json": '{ "type": "module", "private": true }',
    "inputs.js": inputsModule(smokeInputs()),
    "run.js": runModule((entry) => entry.replace(".", "directboot")),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
}
