/** The user's words reach QEMU, the guest and the disk as they are: no shell and no option parser takes them apart. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { contents, script } from "../../cli/sandbox.js";
import { directboot } from "../../support/command.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../../support/paths.js";
import { tempFolder } from "../../support/temp-folder.js";

const folder = tempFolder();

/** Names that shells, QEMU's option parser, or terminals take for more than names. */
const NAMES: readonly (readonly [name: string, what: string])[] = [
  ["spaces in it", "spaces"],
  ["'single' \"double\"", "quotes"],
  ["a;b&&c|d$(touch owned)`touch owned`", "a shell's syntax"],
  ["a,b,,c", "commas"],
  ["a,addr=0,force-raw=off", "commas that look like options"],
  ["-nographic", "a leading dash"],
  ["--", "dashes alone"],
  ["two\nlines", "a line break"],
  ["Grüße 日本 🐧", "non-ASCII"],
  ["id=x:y%d%s\\n*?[a]{b}", "format and glob characters"],
  ["$HOME~", "what expands"],
  ["{", "a brace, with which QEMU's JSON options begin"],
];

/** Keeps its arguments, each behind a NUL, in a file beside itself, with the content of the files that they name. */
const RECORD = 'here=$(dirname "$0")\nprintf "%s\\0" "$@" >"$here/arguments"\nfor each; do :; done\nexit 0';

/** The values of an option among QEMU's arguments. */
function valuesOf(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, index) => (args[index - 1] === option ? [arg] : []));
}

/** QEMU's option syntax (docs: "keyval" and "opts"): properties behind commas; two commas are one that is meant. */
function properties(value: string): Map<string, string> {
  const found: string[] = [""];
  for (let index = 0; index < value.length; index++) {
    const character = value[index] ?? "";
    if (character !== ",") found.push((found.pop() ?? "") + character);
    else if (value[index + 1] === ",") {
      found.push(`${found.pop() ?? ""},`);
      index++;
    } else found.push("");
  }
  return new Map(
    found.map((part) => {
      const at = part.indexOf("=");
      return at < 0 ? ["", part] : [part.slice(0, at), part.slice(at + 1)];
    }),
  );
}

describe("a name reaches QEMU as it is", () => {
  for (const [name, what] of NAMES) {
    it(`${what}: of the folder for temporary files, of the kernel, of QEMU itself`, async () => {
      const place = mkdtempSync(join(folder, "place-"));
      const temporary = join(place, name);
      mkdirSync(temporary);
      mkdirSync(join(place, "in"));
      const kernel = join(place, "in", name);
      copyFileSync(X86_64_GUEST, kernel);
      mkdirSync(join(place, "bin"));
      const qemu = script(join(place, "bin", name), RECORD);
      const { status, stderr } = await directboot(["boot", kernel, "--qemu", qemu], {
        cwd: place,
        env: { ...process.env, TMPDIR: temporary },
      });
      assert.equal(status, 0, stderr);
      const args = readFileSync(join(dirname(qemu), "arguments"), "utf8")
        .split("\0")
        .slice(0, -1);
      const devices = valuesOf(args, "-device").map(properties);
      assert.ok(devices.length >= 3);
      for (const device of devices) {
        assert.deepEqual([...device.keys()], ["", "file", "addr", "force-raw"]);
        assert.equal(device.get(""), "loader");
        assert.equal(dirname(dirname(device.get("file") ?? "")), temporary);
        assert.match(device.get("addr") ?? "", /^0x[0-9a-f]+$/);
        assert.equal(device.get("force-raw"), "on");
      }
      const [rom] = valuesOf(args, "-bios");
      assert.equal(dirname(dirname(rom ?? "")), temporary);
      assert.deepEqual(contents(temporary), {});
      assert.deepEqual(
        Object.keys(contents(place)).filter((path) => path.includes("owned")),
        name.includes("owned") ? [name, `bin/${name}`, `in/${name}`].sort() : [],
      );
    });
  }

  // QEMU itself decides: it starts the guest, or can't.
  for (const [kernel, program] of [
    [X86_64_GUEST, "qemu-system-x86_64"],
    [AARCH64_GUEST, "qemu-system-aarch64"],
  ] as const) {
    it(`all of them at once, to ${program} itself, which finds every file`, async () => {
      const temporary = join(
        mkdtempSync(join(folder, "place-")),
        NAMES.map(([name]) => name)
          .join(" ")
          .slice(0, 200),
      );
      mkdirSync(temporary, { recursive: true });
      const commandLine = `console=ttyS0 ${NAMES.map(([name]) => name)
        .join(" ")
        .replaceAll("\n", " ")}`;
      const { status, stdout, stderr } = await directboot(
        ["boot", kernel, `--append=${commandLine}`, "--timeout", "100", "--json"],
        { env: { ...process.env, TMPDIR: temporary } },
      );
      assert.equal(status, 0, stderr);
      const { serial, serialBytes } = JSON.parse(stdout);
      assert.equal(serialBytes, Buffer.byteLength(serial));
      const said = kernel === X86_64_GUEST ? "commandLine" : "bootargs";
      assert.ok(serial.split(/\r?\n/).includes(`${said}=${commandLine}`), serial);
      assert.deepEqual(contents(temporary), {});
    });
  }
});

describe("names and texts of any kind", () => {
  for (const [name, what] of NAMES) {
    it(`${what}: names of inputs and outputs, and a command line`, async () => {
      const place = mkdtempSync(join(folder, "place-"));
      copyFileSync(X86_64_GUEST, join(place, name));
      writeFileSync(join(place, `initrd ${name}`), "an initrd");
      const out = `out ${name}`;
      // Names without a folder in front of them: behind "--" they are names whatever they look like.
      const { status, stderr } = await directboot(
        ["export", `--initrd=initrd ${name}`, `--append=${name}`, `--out=${out}`, "--", name],
        { cwd: place },
      );
      assert.equal(status, 0, stderr);
      assert.deepEqual(
        Object.keys(contents(place)).sort(),
        [name, `initrd ${name}`, out, `${out}/manifest.json`, `${out}/memory.bin`].sort(),
      );
      assert.ok(readFileSync(join(place, out, "memory.bin")).includes(`${name}\0`));
      const extracted = await directboot(["extract", "-o", "./extracted", "--", name], { cwd: place });
      assert.equal(extracted.status, 0, extracted.stderr);
    });
  }

  it("a file that is named like an option of ours is a file behind --", async () => {
    const place = mkdtempSync(join(folder, "place-"));
    for (const name of ["-h", "--help"]) {
      copyFileSync(X86_64_GUEST, join(place, name));
      const { status, stdout } = await directboot(["inspect", "--", name], { cwd: place });
      assert.equal(status, 0);
      assert.ok(stdout.startsWith(`${name}: a 64-bit ELF`), stdout);
    }
  });
});
