import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { test } from "node:test";
import { ROOT } from "../support/paths.js";

/** Rooms from the roof down: each imports only from those after it. Files beside the rooms are entries, above all. */
const ROOMS = [
  "",
  "cli",
  "hosts",
  "inspect",
  "linux",
  "x86",
  "arm64",
  "firmware",
  "machine",
  "plan",
  "importers",
  "memory",
  "unpack",
  "images",
  "decoders",
  "sources",
  "task",
  "wasm",
  "base",
];

/** The modules of src/, each with those that it imports: statically, dynamically, or for their types. */
const imports = new Map<string, string[]>(
  readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => {
      const text = readFileSync(join(ROOT, "src", file), "utf8");
      const specifiers = text.matchAll(/(?:\bfrom|\bimport\(?)\s*"(\.[^"]*)"/g);
      const folder = posix.dirname(file);
      return [file, [...specifiers].map(([, path = ""]) => posix.join(folder, path.replace(/\.js$/, ".ts")))];
    }),
);

function roomOf(file: string): string {
  return file.includes("/") ? file.slice(0, file.indexOf("/")) : "";
}

test("a room imports only from rooms below it", () => {
  const upward: string[] = [];
  for (const [file, imported] of imports) {
    assert.ok(ROOMS.includes(roomOf(file)), `src/${file} lies in no room`);
    for (const other of imported) {
      const isUpward = ROOMS.indexOf(roomOf(other)) < ROOMS.indexOf(roomOf(file));
      if (isUpward) upward.push(`${file} -> ${other}`);
    }
  }
  assert.deepEqual(upward, []);
});

test("no files import each other", () => {
  const finished = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) {
      circles.push([...path.slice(at), file].join(" -> "));
      return;
    }
    if (finished.has(file)) return;
    for (const other of imports.get(file) ?? []) visit(other, [...path, file]);
    finished.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  assert.deepEqual(circles, []);
});
