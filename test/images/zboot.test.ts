import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { DirectBootErrorCode } from "../../src/base/errors.js";
import { readZboot, type ZbootImage } from "../../src/images/zboot.js";
import { readZbootFields } from "../../src/images/zboot-fields.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runAsync, runSync } from "../../src/task/run.js";
import { outcome, refusal } from "../support/refusal.js";
import { asyncOnly } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";
import { makeZboot } from "../support/zboot-maker.js";

const folder = tempFolder();

function read(bytes: Uint8Array): ZbootImage {
  return runSync(readZboot(new BytesSource(bytes, "vmlinuz.efi")));
}

/** A header that the assembler laid out by the directives of the kernel's zboot-header.S. */
function assembled(compression: string): Buffer {
  const source = join(folder, "zboot.s");
  const object = join(folder, "zboot.o");
  const binary = join(folder, "zboot.bin");
  writeFileSync(
    source,
    `.data
     head: .long 0x5a4d
     .ascii "zimg"
     .long payload - head, payload_end - payload
     .long 0, 0
     .asciz "${compression}"
     .org head + 0x38
     .long 0x818223cd
     .long pe - head
     pe: .long 0x4550
     .short 0xaa64
     .p2align 12
     payload: .ascii "compressed"
     payload_end: .long 0x12345678
    `,
  );
  runTool("binutils", "as", ["-o", object, source]);
  runTool("binutils", "objcopy", ["-O", "binary", "-j", ".data", object, binary]);
  return Buffer.from(runTool("coreutils", "base64", ["-w0", binary]), "base64");
}

describe("readZboot", () => {
  it("reads what the assembler made of the kernel's own layout", async () => {
    const bytes = assembled("zstd22");
    const image = { payloadOffset: 4096, payloadLength: 10, compression: "zstd22" };
    assert.deepEqual(read(bytes), image);
    assert.deepEqual(await runAsync(readZboot(asyncOnly(bytes))), image);
    const fields = runSync(readZbootFields(new BytesSource(bytes)));
    const found = fields.map(({ name, offset, size, value }) => [name, offset, size, value]);
    assert.deepEqual(found, [
      ["mz_magic", 0, 4, "0x5a4d"],
      ["image_type", 4, 4, "0x676d697a"],
      ["payload_offset", 8, 4, "0x1000"],
      ["payload_size", 12, 4, "0xa"],
      ["reserved", 16, 8, "0x0"],
      ["compression_type", 24, 32, "zstd22"],
      ["linux_pe_magic", 56, 4, "0x818223cd"],
      ["pe_header_offset", 60, 4, "0x40"],
      ["pe_magic", 64, 4, "0x4550"],
      ["machine", 68, 2, "0xaa64"],
    ]);
    const meanings = new Map(fields.map(({ name, meaning }) => [name, meaning]));
    assert.equal(meanings.get("machine"), "arm64");
    assert.equal(meanings.get("compression_type"), "Zstandard");
    assert.equal(meanings.get("linux_pe_magic"), "the mark of Linux's PE programs");
  });

  it("takes a name up to the PE header's offset, as the first kernels with zboot may have it", () => {
    const bytes = makeZboot({ compression: "x".repeat(35), linuxMagic: undefined, payloadLength: 28 });
    assert.equal(read(bytes).compression, "x".repeat(35));
  });

  it("tells faults in the documented order, each by a code of its own", () => {
    const rows: readonly (readonly [DirectBootErrorCode | "accepted", Parameters<typeof makeZboot>[0]])[] = [
      ["ZBOOT_TRUNCATED", { byteLength: 63, magic: "XX" }],
      ["ZBOOT_BAD_MAGIC", { magic: "ZM", compression: "", payloadOffset: 0 }],
      ["ZBOOT_BAD_MAGIC", { type: "zimh" }],
      ["ZBOOT_BAD_COMPRESSION_NAME", { compression: "", payloadOffset: 0 }],
      ["ZBOOT_BAD_COMPRESSION_NAME", { compression: "y".repeat(36), linuxMagic: undefined }],
      ["ZBOOT_BAD_COMPRESSION_NAME", { compression: "gz\x1b[2J" }],
      ["ZBOOT_BAD_PAYLOAD", { payloadOffset: 63, payloadLength: 0xffff_ffff }],
      ["ZBOOT_BAD_PAYLOAD", { payloadLength: 0 }],
      ["ZBOOT_TRUNCATED", { payloadLength: 33 }],
      ["ZBOOT_TRUNCATED", { payloadOffset: 0xffff_ffff, payloadLength: 0xffff_ffff }],
      ["accepted", {}],
    ];
    for (const [code, shape] of rows) {
      assert.equal(
        outcome(() => read(makeZboot(shape))),
        code,
        JSON.stringify(shape),
      );
    }
  });

  it("says what a file is that is none", () => {
    assert.throws(() => read(Buffer.from("text")), refusal("ZBOOT_TRUNCATED", "a text file of 4 bytes"));
    const image = new Uint8Array(64);
    image.set(Buffer.from("ARM\x64"), 56);
    assert.throws(() => read(image), refusal("ZBOOT_BAD_MAGIC", "an arm64 Image"));
  });
});
