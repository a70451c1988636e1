import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type BzImageDescription,
  LOADFLAGS,
  readBzImageFields,
  XLOADFLAGS,
} from "../../src/images/bzimage-fields.js";
import type { HeaderField } from "../../src/images/header-fields.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runAsync, runSync } from "../../src/task/run.js";
import { type BzImageShape, makeBzImage } from "../support/bzimage-maker.js";
import { macros, setupHeaderMembers } from "../support/c-structs.js";
import { asyncOnly } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();

function describeImage(bytes: Uint8Array): BzImageDescription {
  return runSync(readBzImageFields(new BytesSource(bytes)));
}

/** The field of that name. */
function field(shape: BzImageShape, name: string): HeaderField {
  const found = describeImage(makeBzImage(shape)).fields.find((candidate) => candidate.name === name);
  assert.ok(found !== undefined, name);
  return found;
}

describe("readBzImageFields", () => {
  it("has every member of the kernel's struct setup_header, at its offset and size, and no other", () => {
    assert.deepEqual(
      describeImage(makeBzImage()).fields.map(({ name, offset, size }) => ({ name, offset, size })),
      setupHeaderMembers(folder),
    );
  });

  it("names every bit of loadflags and xloadflags that the kernel's header names", () => {
    const loadflags = macros(
      "asm/bootparam.h",
      folder,
      /^(LOADED_HIGH|CAN_USE_HEAP|\w+_SEGMENTS|(KASLR|QUIET)_FLAG)$/,
    );
    assert.deepEqual(new Map(Object.entries(LOADFLAGS)), loadflags);
    // Newer headers than this machine's have one more.
    const expected = macros("asm/bootparam.h", folder, /^XLF_/).set("XLF_MEM_ENCRYPTION", 0x80);
    assert.deepEqual(new Map(Object.entries(XLOADFLAGS)), expected);
  });

  it("gives the bytes of each field as a little-endian number, asynchronously as synchronously", async () => {
    const bytes = makeBzImage();
    const { fields } = describeImage(bytes);
    for (const { name, offset, size, value } of fields) {
      const reversed = Buffer.from(
        bytes
          .subarray(offset, offset + size)
          .slice()
          .reverse(),
      ).toString("hex");
      assert.equal(BigInt(value), BigInt(`0x${reversed}`), name);
    }
    assert.deepEqual(await runAsync(readBzImageFields(asyncOnly(bytes))), describeImage(bytes));
  });

  it("decodes flags, sizes and names", () => {
    const fields = [
      [0x1fa, 2, 0xfffd],
      [0x1fc, 2, 0x0801],
      [0x210, 1, 0xb0],
      [0x23c, 4, 2],
    ] as const;
    const rows: readonly (readonly [string, BzImageShape, string | RegExp])[] = [
      ["setup_sects", { setupSects: 0 }, /^4 sectors .* byte 0xa00$/],
      ["syssize", {}, /^4096 bytes/],
      ["vid_mode", { fields }, "video mode: ask"],
      ["root_dev", { fields }, /device 8:1 /],
      ["boot_flag", { bootFlag: 0x55aa }, /0xaa55 is wanted/],
      ["jump", {}, /ends at 0x26c$/],
      ["header", {}, '"HdrS"'],
      ["header", { magic: 1 }, /^not "HdrS"/],
      ["version", {}, "boot protocol 2.15"],
      ["type_of_loader", { fields }, /QEMU/],
      ["loadflags", { loadflags: 0x89 }, "LOADED_HIGH, CAN_USE_HEAP, unknown 0x8"],
      ["loadflags", { loadflags: 0 }, "none"],
      ["relocatable_kernel", {}, /anywhere/],
      ["min_alignment", {}, /2097152 bytes/],
      ["min_alignment", { fields: [[0x235, 1, 0xff]] }, /no such alignment/],
      ["xloadflags", { fields: [[0x236, 2, 0x101]] }, "XLF_KERNEL_64, unknown 0x100"],
      ["cmdline_size", {}, /2047 bytes/],
      ["hardware_subarch", { fields }, /^Xen/],
      ["payload_offset", { payloadOffset: 0x40 }, /at 0x40 /],
      ["payload_offset", {}, "none"],
      ["pref_address", { fields: [[0x258, 8, 0]] }, /^no preferred/],
      ["init_size", {}, /^131072 bytes/],
    ];
    for (const [name, shape, meaning] of rows) {
      const found = field(shape, name).meaning;
      if (typeof meaning === "string") assert.equal(found, meaning, name);
      else assert.match(found, meaning, name);
    }
  });

  it("says which fields the image's protocol does not have, and since when there are such", () => {
    const { fields } = describeImage(makeBzImage({ version: 0x203 }));
    const absent = fields.filter(({ meaning }) => meaning === "no field of protocol 2.03");
    assert.deepEqual(
      absent.map(({ name }) => name),
      fields.filter(({ since = "", name }) => since > "2.03" && name !== "syssize").map(({ name }) => name),
    );
    assert.equal(field({ version: 0x203 }, "syssize").since, "2.04");
    assert.match(field({ version: 0x203 }, "syssize").meaning, /before 2.04/);
    assert.equal(field({}, "setup_sects").since, undefined);
  });

  it("finds the kernel's version, and shows nothing of it that a terminal would obey", () => {
    const version = (text: string, pointer = 0x210): BzImageDescription => {
      const bytes = makeBzImage({ setupSects: 2, fields: [[0x20e, 2, pointer]] });
      bytes.set(Buffer.from(text, "latin1"), 0x410);
      return describeImage(bytes);
    };
    assert.equal(version("6.1.0 (me) #1\0rest").kernelVersion, "6.1.0 (me) #1");
    assert.equal(version("6\x1b[2J\n\xe9").kernelVersion?.slice(0, 7), "6?[2J??");
    assert.equal(version("x".repeat(300)).kernelVersion, "x".repeat(256));
    // The setup code ends at 0x600, and with it the version.
    assert.equal(version("x".repeat(0x200), 0x3f0).kernelVersion, "x".repeat(16));
    assert.equal(version("6.1", 0).kernelVersion, undefined);
    assert.equal(version("6.1", 0x400).kernelVersion, undefined);
    const { fields } = version("6.1", 0xffff);
    const pointer = fields.find(({ name }) => name === "kernel_version");
    assert.match(pointer?.meaning ?? "", /points to byte 0x101ff, outside the setup code/);
  });

  it("tells the payload's compression by its first bytes", () => {
    const code = new Uint8Array(4096);
    code.set([0x28, 0xb5, 0x2f, 0xfd], 64);
    const shape = { code, payloadOffset: 64, payloadLength: 100 };
    assert.equal(field(shape, "payload_length").meaning, "100 bytes of payload: zstd-compressed data");
    assert.equal(
      field({ ...shape, payloadOffset: 0xffff_fff0 }, "payload_length").meaning,
      "100 bytes of payload",
    );
  });

  it("reads kernel_info where there is one", () => {
    const code = new Uint8Array(4096);
    code.set(Buffer.from("LToP"), 0x100);
    new DataView(code.buffer).setUint32(0x104, 16, true);
    new DataView(code.buffer).setUint32(0x108, 24, true);
    new DataView(code.buffer).setUint32(0x10c, 0x8000_0009, true);
    const at = (kernelInfo: number, version = 0x20f): HeaderField[] =>
      describeImage(makeBzImage({ code, version, fields: [[0x268, 4, kernelInfo]] })).fields.filter(
        ({ name }) => name.startsWith("kernel_info."),
      );
    assert.deepEqual(
      at(0x100).map(({ name, offset, size, value }) => [name, offset, size, value]),
      [
        ["kernel_info.header", 0x500, 4, "0x506f544c"],
        ["kernel_info.size", 0x504, 4, "0x10"],
        ["kernel_info.size_total", 0x508, 4, "0x18"],
        ["kernel_info.setup_type_max", 0x50c, 4, "0x80000009"],
      ],
    );
    assert.equal(at(0x100)[3]?.meaning, "setup_data types up to 9, also as setup_indirect");
    assert.match(at(0x200)[0]?.meaning ?? "", /^not "LToP"/);
    assert.deepEqual([at(0), at(4081), at(0xffff_ffff), at(0x100, 0x20e)], [[], [], [], []]);
    assert.equal(at(4080).length, 4);
  });

  it("shows what a cut file still has", () => {
    const { fields } = describeImage(makeBzImage({ byteLength: 0x215 }));
    assert.equal(fields.at(-1)?.name, "setup_move_size");
    assert.deepEqual(describeImage(new Uint8Array(0)), { fields: [], kernelVersion: undefined });
  });
});
