/** Shared by the tests of the command's outputs: the content of a folder, running processes, and disks that are full. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type CommandResult, runProgram } from "../support/command.js";
import { CLI } from "../support/paths.js";

/** Everything in a folder, by its path in it: what it is, and its bytes' hash. Modes of files, too, if asked for. */
export function contents(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    const path = join(folder, name);
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) found[name] = `-> ${readlinkSync(path)}`;
    else if (stat.isDirectory()) found[name] = "folder";
    else if (stat.isFile()) found[name] = createHash("sha256").update(readFileSync(path)).digest("hex");
    else found[name] = "special";
  }
  return found;
}

/** Processes that have `text` in their environment: what a command has started, and what that has started. */
export function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(text);
      } catch {
        return false; // It has ended meanwhile.
      }
    })
    .map(Number);
}

/** Writes an executable shell script. */
export function script(path: string, text: string): string {
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return path;
}

/** A file system of its own for one run. */
export interface Disk {
  /** Mount options of tmpfs, such as "size=8k". */
  readonly options: string;
  /** A shell command that is run in it before. */
  readonly prepare?: string;
  readonly isReadOnly?: boolean;
}

export interface DiskResult extends CommandResult {
  /** The disk's content before and after: a line for each file, with its hash. */
  readonly before: string;
  readonly after: string;
}

/** The mount lives in a namespace of its own, and goes with it, however the run ends. */
const ON_DISK = `
set -e
disk=$1; options=$2; prepare=$3; mode=$4; lists=$5; shift 5
mount -t tmpfs -o "$options" tmpfs "$disk"
cd "$disk"
eval "$prepare"
if [ "$mode" = ro ]; then mount -o remount,ro "$disk"; fi
list() { (find . -printf '%y %P %l\\n' | sort; find . -type f -exec sha256sum {} + | sort); }
list >"$lists/before"
set +e
"$@"
status=$?
list >"$lists/after"
exit $status
`;

let namespace: readonly string[] | undefined;

/** unshare's arguments: as root as it is, else as root of a user namespace. */
function mountNamespace(): readonly string[] {
  namespace ??= [["--mount"], ["--mount", "--map-root-user"]].find(
    (flags) => spawnSync("unshare", [...flags, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]).status === 0,
  );
  assert.ok(
    namespace !== undefined,
    "these tests need to mount a file system: root, or user namespaces (unshare, of the package util-linux)",
  );
  return namespace;
}

/** Runs the command on a file system of its own, which is the current folder and $DISK; "@" in an argument stands for it. */
export async function directbootOnDisk(
  folder: string,
  disk: Disk,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<DiskResult> {
  const mount = join(folder, "disk");
  mkdirSync(mount, { recursive: true });
  const lists = mkdtempSync(join(folder, "lists-"));
  const here = (text: string): string => text.replaceAll("@", mount);
  const result = await runProgram(
    "unshare",
    [
      ...mountNamespace(),
      ...["sh", "-c", ON_DISK, "sh", mount, disk.options, disk.prepare ?? ":"],
      ...[disk.isReadOnly === true ? "ro" : "rw", lists, process.execPath, CLI, ...args.map(here)],
    ],
    {
      env: {
        ...process.env,
        ...Object.fromEntries(Object.entries(env).map(([name, value]) => [name, here(value ?? "")])),
      },
    },
  );
  return {
    ...result,
    before: readFileSync(join(lists, "before"), "utf8"),
    after: readFileSync(join(lists, "after"), "utf8"),
  };
}

/** One line that begins with the code, and no stack. */
export function assertOneLine(stderr: string, code: string | RegExp): void {
  assert.match(stderr, /^directboot: [A-Z][A-Z_0-9]+: [^\n]+\n$/, stderr);
  const found = /^directboot: ([A-Z_0-9]+): /.exec(stderr)?.[1] ?? "";
  if (typeof code === "string") assert.equal(found, code, stderr);
  else assert.match(found, code, stderr);
}
