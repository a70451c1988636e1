/** The package is the same, byte for byte, wherever and whenever it is built. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { runProgram } from "../support/command.js";
import { inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

/** The sources of the package; tests and benches are no part of it. */
const PARTS = [
  ...[
    "assembly",
    "asconfig.json",
    "docs",
    "examples",
    "guests",
    "licenses",
    "package.json",
    "scripts",
    "src",
  ],
  ...["tsconfig.json", "CHANGELOG.md", "LICENSE", "NOTICE", "README.md", "SECURITY.md"],
];

const folder = tempFolder();

/** Moves every clock that a program in JavaScript can read. */
const LATER = join(folder, "later.mjs");
writeFileSync(
  LATER,
  `const now = Date.now;
const ahead = 400 * 24 * 3600 * 1000;
const Real = Date;
globalThis.Date = class extends Real {
  constructor(...args) { args.length === 0 ? super(now() + ahead) : super(...args); }
  static now() { return now() + ahead; }
};
`,
);

/** Copies what the package is made of, without anything that a build has made. */
function copyTo(target: string): void {
  mkdirSync(target, { recursive: true });
  for (const part of PARTS) {
    cpSync(inRoot(part), join(target, part), {
      recursive: true,
      filter: (path) => !path.endsWith(".generated.ts"),
    });
  }
  symlinkSync(inRoot("node_modules"), join(target, "node_modules"));
}

/** Builds and packs; gives the archive's bytes. */
async function packed(target: string, umask: string, env: NodeJS.ProcessEnv): Promise<Buffer> {
  const script = `umask ${umask} && "$0" scripts/build.mjs && npm pack --ignore-scripts`;
  const { status, stdout, stderr } = await runProgram("sh", ["-c", script, process.execPath], {
    cwd: target,
    env: { ...process.env, NODE_V8_COVERAGE: undefined, ...env },
    timeoutMs: 300_000,
  });
  assert.equal(status, 0, `${stdout}${stderr}`);
  const [archive] = readdirSync(target).filter((name) => name.endsWith(".tgz"));
  assert.ok(archive !== undefined, stdout);
  return readFileSync(join(target, archive));
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("two builds", () => {
  it("in other folders, at other times, with another time zone, language and umask, give the same archive", async () => {
    const first = join(folder, "a");
    const second = join(folder, "another folder", "farther", "down");
    copyTo(first);
    copyTo(second);
    const old = new Date("2001-02-03T04:05:06Z");
    for (const name of readdirSync(second, { recursive: true, encoding: "utf8" })) {
      if (!name.startsWith("node_modules")) utimesSync(join(second, name), old, old);
    }
    const archives = await Promise.all([
      packed(first, "022", { TZ: "UTC", LC_ALL: "C" }),
      packed(second, "077", {
        TZ: "Pacific/Kiritimati",
        LC_ALL: "C.UTF-8",
        HOME: folder,
        NODE_OPTIONS: `--import=${LATER}`,
      }),
    ]);
    const [one, other] = archives;
    if (sha256(one) !== sha256(other)) {
      const files = (from: string): Record<string, string> =>
        Object.fromEntries(
          readdirSync(join(from, "dist"), { recursive: true, encoding: "utf8" })
            .filter((name) => /\.[a-z]+$/.test(name))
            .map((name) => [name, sha256(readFileSync(join(from, "dist", name)))]),
        );
      assert.deepEqual(files(second), files(first));
    }
    assert.equal(sha256(other), sha256(one));
  });
});
