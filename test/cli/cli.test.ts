/** The command `directboot` as a user runs it: exit statuses, one-line errors, nothing written when it fails. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { gzipSync, crc32 as zlibCrc32 } from "node:zlib";
import { COMMANDS } from "../../src/cli/commands.js";
import { optionsOf, parseArguments } from "../../src/cli/options.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { directboot, runProgram } from "../support/command.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { AARCH64_GUEST, CLI, inRoot, PACKED_CLI, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { assertOneLine } from "./sandbox.js";

const folder = tempFolder();
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

const guest = readFileSync(X86_64_GUEST);
const missing = join(folder, "missing");
const empty = file("empty", "");
const text = file(
  "text",
  "This is not a kernel, but a long enough text to have a header's length in bytes.\n",
);
const truncated = file("truncated.elf", guest.subarray(0, 5000));
const initrd = file("initrd", new Uint8Array(10000).fill(1));
/** XLF_KERNEL_64 clear in xloadflags (boot.rst): a 32-bit kernel. */
const bzImage32 = file("vmlinuz-32", makeBzImage({ fields: [[0x236, 2, 0]] }));
const bzImage64 = file("vmlinuz-64", makeBzImage());
const elf32 = file(
  "vmlinux-32",
  makeElf32({
    entry: 0x10_0000n,
    segments: [{ offset: 0x1000n, vaddr: 0xc010_0000n, paddr: 0x10_0000n, filesz: 0x1000n, memsz: 0x2000n }],
  }),
);

describe("a bad input gives one line with code, value, limit and cure, exit status 1, and nothing written", () => {
  for (const [name, args, code, said] of [
    ["a missing file", [missing], "SOURCE_NOT_FOUND", /missing can't be opened \(ENOENT\); check the path/],
    ["an empty file", [empty], "NO_KERNEL_INSIDE", /an empty file of 0 bytes; give a bzImage/],
    ["a text file", [text], "NO_KERNEL_INSIDE", /is a text file; give a bzImage/],
    ["a truncated ELF", [truncated], "REGION_READ", /0x1000 to 0x1f[0-9a-f]{2} .* it has 0x1388; check that/],
    ["a folder", [folder], "SOURCE_NOT_FOUND", /not a regular file/],
    [
      "RAM too small for the kernel",
      [X86_64_GUEST, "--memory", "16M"],
      "GUEST_MEMORY_NOT_RAM",
      /linux-kernel at 0x1000000-0x[0-9a-f]+ does not lie in RAM \(0x0-0x1000000\): it meets the end of RAM, whose last range is 0x0-0x1000000; give the guest more RAM/,
    ],
    [
      "an initrd over the ACPI tables, which have one place only",
      [X86_64_GUEST, "--initrd", initrd, "--initrd-address", "0xdf000"],
      "IMPORT_OVERLAP",
      /linux-initrd at 0xdf000-0xe2000 overlaps linux-rdsp at 0xe0000-0xe1000; place one/,
    ],
    [
      "an initrd over the kernel",
      [X86_64_GUEST, "--initrd", initrd, "--initrd-address", "0x1000000"],
      "IMPORT_OVERLAP",
      /linux-kernel at 0x1000000-0x[0-9a-f]+ overlaps linux-initrd at 0x1000000-0x1003000; place one/,
    ],
    [
      "an unaligned initrd",
      [X86_64_GUEST, "--initrd", initrd, "--initrd-address", "0x2000001"],
      "UNALIGNED_ADDRESS",
      /0x2000001 is not a multiple of 0x1000/,
    ],
    [
      "an empty initrd",
      [X86_64_GUEST, "--initrd", empty],
      "SOURCE_EMPTY",
      /has 0 bytes; leave the initrd out/,
    ],
    [
      "an empty initrd among several",
      [X86_64_GUEST, "--initrd", initrd, "--initrd", empty],
      "SOURCE_EMPTY",
      /has 0 bytes; leave the initrd out/,
    ],
    [
      "an entry that the kernel does not have",
      [bzImage32, "--entry", "64"],
      "X86_ENTRY_NOT_AVAILABLE",
      /entry 64 was asked for, the kernel has a 32-bit one; leave the entry out/,
    ],
    [
      "the 32-bit entry of a 64-bit ELF",
      [X86_64_GUEST, "--entry", "32"],
      "X86_ENTRY_NOT_AVAILABLE",
      /entry 32 was asked for, the kernel has the 64-bit one/,
    ],
    [
      "PVH without its note",
      [X86_64_GUEST, "--entry", "pvh"],
      "X86_ENTRY_NOT_AVAILABLE",
      /the kernel has no PVH note/,
    ],
    [
      "an initrd above what a 32-bit kernel takes",
      [elf32, "--initrd", initrd, "--initrd-address", "0x38000000", "--memory", "1G"],
      "INITRD_TOO_HIGH",
      /0x38000000-0x38002710 passes 0x38000000/,
    ],
    [
      "RAM of no whole pages",
      [X86_64_GUEST, "--memory", "4097"],
      "LAYOUT_BAD_SIZE",
      /0x1001 is not a positive/,
    ],
    ["a command line too long", ["--append", "x".repeat(70_000)], "COMMAND_LINE_TOO_LONG", /./],
    [
      "RAM beyond the address space",
      [X86_64_GUEST, "--memory", "99999999T"],
      "ADDRESS_OUT_OF_RANGE",
      /memory is/,
    ],
  ] as const) {
    test(name, async () => {
      const { status, stdout, stderr } = await directboot(["plan", ...args]);
      assert.equal(status, 1);
      assert.equal(stdout, "");
      assertOneLine(stderr, code);
      assert.match(stderr, said);
    });
  }

  for (const command of ["boot", "export"]) {
    test(`${command} leaves no file`, async () => {
      const place = mkdtempSync(join(folder, "place-"));
      const rest = command === "export" ? ["--out", join(place, "out")] : [];
      const args = [command, X86_64_GUEST, "--memory", "16M", ...rest];
      const { status, stdout, stderr } = await directboot(args, { env: { ...process.env, TMPDIR: place } });
      assert.deepEqual([status, stdout], [1, ""]);
      assertOneLine(stderr, "GUEST_MEMORY_NOT_RAM");
      assert.deepEqual(readdirSync(place), []);
    });
  }

  test("a file in place of export's folder", async () => {
    const { status, stderr } = await directboot(["export", X86_64_GUEST, "--out", text]);
    assert.equal(status, 1);
    assert.match(stderr, /^directboot: OUTPUT_FAILED: .*exists and is no folder/);
    assert.match(readFileSync(text, "utf8"), /^This is not a kernel/);
  });

  test("an output that is full", async () => {
    const { status, stderr } = await runProgram("sh", [
      "-c",
      `'${process.execPath}' '${CLI}' plan >/dev/full`,
    ]);
    assert.equal(status, 1);
    assert.match(stderr, /^directboot: OUTPUT_FAILED: standard output: [^\n]+\n$/);
  });

  test("boot without QEMU names the package to install", async () => {
    const { status, stderr } = await directboot(["boot", X86_64_GUEST], { env: { PATH: folder } });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /TOOL_MISSING: qemu-system-x86_64 is not installed; install the package qemu-system-x86 /,
    );
  });

  test("boot of a 32-bit kernel takes the 32-bit QEMU", async () => {
    for (const kernel of [bzImage32, elf32]) {
      const { status, stderr } = await directboot(["boot", kernel], { env: { PATH: folder } });
      assert.equal(status, 1);
      assert.match(stderr, /TOOL_MISSING: qemu-system-i386 is not installed; install the package/);
    }
  });

  test("an entry for an arm64 kernel", async () => {
    const { status, stderr } = await directboot(["plan", AARCH64_GUEST, "--entry", "64"]);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^directboot: OPTION_NOT_FOR_ARCHITECTURE: the option entry was given, but [^\n]+ is for arm64[^\n]+\n$/,
    );
  });

  test("boot ends a guest that runs longer than --timeout, and says so", async () => {
    // A program that ignores its arguments and waits, in QEMU's place.
    const sleeper = file("sleeper.sh", "#!/bin/sh\nexec sleep 100\n");
    await runProgram("chmod", ["+x", sleeper]);
    const { status, stderr } = await directboot(["boot", "--qemu", sleeper, "--timeout", "0.3"]);
    assert.equal(status, 1);
    assert.match(stderr, /TOOL_FAILED: the guest still ran after 0.3 s/);
  });

  test("boot shows what QEMU says when its device tree can't be had", async () => {
    const { status, stderr } = await directboot(["boot", AARCH64_GUEST, "--cpu", "no-such-cpu"]);
    assert.equal(status, 1);
    assert.match(stderr, /no-such-cpu/);
    assert.match(stderr, /TOOL_FAILED: qemu-system-aarch64 ended with status 1/);
  });

  test("boot says why QEMU can't be started", async () => {
    const { status, stderr } = await directboot(["boot", "--qemu", text]);
    assert.equal(status, 1);
    assert.match(stderr, /TOOL_FAILED: [^\n]*text could not be started \([^)]*EACCES\)/);
  });

  test("boot reports QEMU's own failure", async () => {
    const { status, stderr } = await directboot(["boot", "--cpu", "no-such-cpu", "--timeout", "60"]);
    assert.equal(status, 1);
    assert.match(stderr, /TOOL_FAILED: qemu-system-x86_64 ended with status 1/);
  });
});

describe("bad usage gives exit status 2", () => {
  for (const args of [
    [],
    ["frobnicate"],
    ["plan", "--frobnicate"],
    ["plan", "a", "b"],
    ["plan", "--memory", "12Q"],
    ["plan", "--memory", ""],
    ["plan", "--initrd-address", "0x1000"],
    ["plan", X86_64_GUEST, "--initrd", initrd, "--initrd-address", "here"],
    ["plan", bzImage64, "--entry", "16"],
    ["plan", bzImage64, "--kernel-address", "high"],
    ["plan", bzImage64, "--reserve", "0x9f000"],
    ["plan", bzImage64, "--reserve", "0x9f000-0xa0000:two"],
    ["plan", bzImage64, "--reserve", "-1-0xa0000"],
    ["plan", bzImage64, "--entry", ""],
    ["plan", bzImage64, "--entry"],
    ["boot", bzImage64, "--entry", "efi"],
    ["export", bzImage64, "--entry", "PVH", "--out", join(folder, "never")],
    ["export", X86_64_GUEST],
    ["boot", "--machine", "toaster"],
    ["boot", "--timeout", "soon"],
    ["boot", "--qemu", ""],
    ["boot", "--cpu", ""],
    ["crc32"],
    ["completion", "tcsh"],
    ["map", "-o", "m.png"],
    ["plan", "-", "--initrd", "-"],
    ["plan", "--append", "--memory", "1G"],
    ["plan", "--json=yes"],
    ["boot", "-x"],
    ["inspect", "a", "b"],
  ]) {
    test(`directboot ${args.join(" ")}`, async () => {
      const { status, stdout, stderr } = await directboot(args);
      assert.equal(status, 2, stderr);
      assert.equal(stdout, "");
      assert.notEqual(stderr, "");
    });
  }
});

describe("directboot", () => {
  test("--version prints the package's version", async () => {
    const { stdout } = await directboot(["--version"]);
    assert.equal(stdout.trim(), JSON.parse(readFileSync(inRoot("package.json"), "utf8")).version);
  });

  test("--help lists every command, -h and -V", async () => {
    for (const args of [["--help"], ["-h"], ["help"]]) {
      const { status, stdout } = await directboot(args);
      assert.equal(status, 0);
      for (const command of Object.keys(COMMANDS))
        assert.ok(stdout.includes(`directboot ${command} `), command);
      for (const option of ["-h, --help", "-V, --version", "--json"])
        assert.ok(stdout.includes(option), option);
    }
  });

  for (const [name, command] of Object.entries(COMMANDS)) {
    test(`${name} --help has each of its options, and examples that parse`, async () => {
      const { status, stdout } = await directboot([name, "--help"]);
      assert.equal(status, 0);
      assert.equal((await directboot(["help", name])).stdout, stdout);
      for (const option of Object.keys(optionsOf(command)))
        assert.match(stdout, new RegExp(`--${option}\\b`));
      assert.ok(stdout.split("\n").every((line) => line.length <= 120));
      assert.ok(command.examples.length > 0);
      for (const [example] of command.examples) {
        const [first, ...rest] = example.split(" ");
        assert.equal(first, name);
        // Words in quotes have no spaces in them; what a shell redirects is no argument.
        const args = rest.map((word) => word.replaceAll("'", "")).filter((word) => !/^(>+|~.*)$/.test(word));
        parseArguments(args, optionsOf(command));
      }
    });
  }

  test("suggests the command and the option that is meant", async () => {
    for (const [args, meant] of [
      [["plann"], "plan"],
      [["exprot"], "export"],
      [["boot", "--mermory", "1G"], "--memory"],
      [["plan", "--cmdline", "x"], "--"],
    ] as const) {
      const { status, stderr } = await directboot(args);
      assert.equal(status, 2);
      assert.match(stderr, /^directboot: [^\n]+\n$/);
      if (meant !== "--") assert.ok(stderr.includes(`did you mean ${meant}?`), stderr);
    }
  });

  test("--json gives errors as JSON, with code, message and cure", async () => {
    const missing = await directboot(["plan", join(folder, "missing"), "--json"]);
    assert.deepEqual([missing.status, missing.stdout], [1, ""]);
    const { error } = JSON.parse(missing.stderr);
    assert.equal(error.code, "SOURCE_NOT_FOUND");
    assert.equal(error.message, `${error.details}; ${error.cure}`);
    const usage = await directboot(["plan", "--memory", "much", "--json"]);
    assert.equal(usage.status, 2);
    assert.equal(JSON.parse(usage.stderr).error.code, "USAGE");
  });

  test("--json of plan, export, boot and map have architecture and entry mode under the same names", async () => {
    const commands = [
      ["plan"],
      ["export", "--out", join(folder, "json")],
      ["boot", "--timeout", "60"],
      ["map"],
    ];
    for (const command of commands) {
      const { status, stdout, stderr } = await directboot([...command, X86_64_GUEST, "--json"]);
      assert.equal(status, 0, stderr);
      const { architecture, entryMode } = JSON.parse(stdout);
      assert.deepEqual([architecture, entryMode], ["x86_64", "long64"], command.join(" "));
    }
  });

  test("runs as an executable file", async () => {
    const { status, stdout } = await runProgram(PACKED_CLI, ["--version"]);
    assert.equal(status, 0);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test("crc32 prints what zlib computes, for several files", async () => {
    const { status, stdout } = await directboot(["crc32", X86_64_GUEST, empty]);
    assert.equal(status, 0);
    const hex = (bytes: Uint8Array): string => zlibCrc32(bytes).toString(16).padStart(8, "0");
    assert.equal(stdout, `${hex(guest)}  ${X86_64_GUEST}\n00000000  ${empty}\n`);
  });

  test("crc32 --json names the hot paths that ran", async () => {
    const { stdout } = await directboot(["crc32", "--json", X86_64_GUEST]);
    const result = JSON.parse(stdout);
    assert.equal(result.hotPaths, "wasm");
    assert.equal(Number(`0x${result.files[0].crc32}`), zlibCrc32(guest));
  });

  test("plan --json is the plan as data, with addresses in hex strings and sizes as numbers", async () => {
    const { stdout } = await directboot(["plan", "--json", X86_64_GUEST, "--initrd", initrd]);
    const plan = JSON.parse(stdout);
    assert.deepEqual([plan.architecture, plan.entryMode], ["x86_64", "long64"]);
    assert.equal(plan.info.initrd.size, 10_000);
    assert.ok(plan.steps.some((step: { tag?: string }) => step.tag === "linux-zeropage"));
    assert.ok(
      plan.steps.some(
        (step: { name?: string; value?: unknown }) => step.name === "cr4" && step.value === "0x20",
      ),
    );
  });

  for (const [name, kernel, asked, architecture, entryMode] of [
    ["a bzImage, by default", bzImage64, [], "x86_64", "long64"],
    ["a bzImage by the 32-bit entry", bzImage64, ["--entry", "32"], "x86_64", "protected32"],
    ["a 32-bit bzImage, by default", bzImage32, [], "i386", "protected32"],
    ["a 32-bit ELF, by default", elf32, [], "i386", "protected32"],
    ["an ELF by the 64-bit entry", X86_64_GUEST, ["--entry", "64"], "x86_64", "long64"],
  ] as const) {
    test(`plan and export say how ${name} is entered`, async () => {
      const plan = JSON.parse((await directboot(["plan", "--json", kernel, ...asked])).stdout);
      assert.deepEqual([plan.architecture, plan.entryMode], [architecture, entryMode]);
      const { stdout } = await directboot(["plan", kernel, ...asked]);
      assert.match(stdout, new RegExp(`^entry mode +${entryMode}\n`));
      const out = mkdtempSync(join(folder, "export-"));
      assert.equal((await directboot(["export", kernel, ...asked, "--out", out])).status, 0);
      const manifest = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
      assert.deepEqual([manifest.version, manifest.arch, manifest.entryMode], [1, architecture, entryMode]);
      assert.equal(manifest.registers.rip, plan.info.kernel.entrypoint);
      assert.equal(manifest.registers.cr3, entryMode === "long64" ? "0x4000" : undefined);
    });
  }

  test("--initrd given several times puts the archives one behind the other, each at a multiple of 4 bytes", async () => {
    const out = mkdtempSync(join(folder, "export-"));
    const archives = [file("a", "abcde"), file("b", "fghi"), file("c", "j")];
    const args = archives.flatMap((path) => ["--initrd", path]);
    const { status, stderr } = await directboot(["export", X86_64_GUEST, ...args, "--out", out]);
    assert.equal(status, 0, stderr);
    const { regions, info } = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
    const found = regions.find(({ tag }: { tag: string }) => tag === "linux-initrd");
    const start = Number(found.offset);
    const bytes = readFileSync(join(out, "memory.bin")).subarray(start, start + Number(found.fileLength));
    assert.equal(bytes.toString(), "abcde\0\0\0fghij");
    assert.equal(info.initrd.size, "0xd");
  });

  test("a gzipped kernel is planned as the kernel in it", async () => {
    const packed = file("x86_64.elf.gz", gzipSync(guest));
    const steps = async (kernel: string): Promise<unknown> => {
      const { status, stdout, stderr } = await directboot(["plan", "--json", kernel]);
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout).steps;
    };
    assert.deepEqual(await steps(packed), await steps(X86_64_GUEST));
  });

  test("export replaces an earlier export in the same folder, and leaves other files there", async () => {
    const out = join(folder, "again");
    mkdirSync(out);
    writeFileSync(join(out, "notes.txt"), "mine");
    assert.equal((await directboot(["export", "--out", out, "--append", "one"])).status, 0);
    const first = readFileSync(join(out, "memory.bin"));
    assert.equal((await directboot(["export", "--force", "--out", out, "--append", "two"])).status, 0);
    assert.notDeepEqual(readFileSync(join(out, "memory.bin")), first);
    assert.deepEqual(readdirSync(out).sort(), ["manifest.json", "memory.bin", "notes.txt"]);
  });

  test("shows a progress bar on a terminal, and wipes it", async () => {
    const large = join(folder, "large");
    // Sparse: reads as zeros, and long enough for the bar to appear.
    await runProgram("truncate", ["-s", "1500M", large]);
    const { stdout } = await runProgram("script", [
      "-qec",
      `'${process.execPath}' '${CLI}' crc32 '${large}'`,
      "/dev/null",
    ]);
    assert.match(stdout, /█+░* \d+ % of 1\.5 GiB/);
    const wipe = `\r${String.fromCharCode(27)}[K`;
    assert.match(stdout.slice(stdout.lastIndexOf(wipe) + wipe.length), /^[0-9a-f]{8} {2}/);
  });
});
