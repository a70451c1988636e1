import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DirectBootErrorCode } from "../../src/base/errors.js";
import { type BzImage, formatProtocolVersion, readBzImage } from "../../src/images/bzimage.js";
import { BytesSource } from "../../src/sources/bytes.js";
import type { SyncSource } from "../../src/sources/source.js";
import { runSync } from "../../src/task/run.js";
import { type BzImageShape, makeBzImage } from "../support/bzimage-maker.js";
import { setupHeaderMembers } from "../support/c-structs.js";
import { outcome, refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();

function read(bytes: Uint8Array): BzImage {
  return runSync(readBzImage(new BytesSource(bytes, "vmlinuz")));
}

/** A source as a stream is one: its length is not known, and reading past its end fails. */
function stream(bytes: Uint8Array): SyncSource {
  const source = new BytesSource(bytes, "stream");
  return {
    name: "stream",
    byteLength: Number.MAX_SAFE_INTEGER,
    readSync: (target, offset) => source.readSync(target, offset),
    read: (target, offset) => source.read(target, offset),
  };
}

describe("readBzImage", () => {
  it("reads each field from where the kernel's own struct setup_header has it", () => {
    // Values that no two fields share, and that the checks of other fields let pass.
    const values: Readonly<Record<string, bigint>> = {
      setup_sects: 7n,
      syssize: 0x123n,
      boot_flag: 0xaa55n,
      jump: 0x6aebn,
      header: 0x5372_6448n,
      version: 0x20fn,
      loadflags: 0x81n,
      payload_offset: 0x321n,
      payload_length: 0x333n,
    };
    const members = setupHeaderMembers(folder);
    const value = (name: string, index: number, size: number): bigint =>
      values[name] ?? (0x1112_1314_1516_1718n * BigInt(index + 1)) & ((1n << BigInt(8 * size)) - 1n);
    const fields = members.map(({ name, offset, size }, index) => {
      assert.ok(size === 1 || size === 2 || size === 4 || size === 8, name);
      return [offset, size, value(name, index, size)] as const;
    });
    const bytes = makeBzImage({ setupSects: 7, code: new Uint8Array(0x1230), fields });
    const image = read(bytes);
    const field = (name: string): bigint => {
      const index = members.findIndex((member) => member.name === name);
      return value(name, index, members[index]?.size ?? 0);
    };
    const number = (name: string): number => Number(field(name));
    assert.deepEqual(image, {
      header: bytes.slice(0x1f1, 0x26c),
      version: 0x20f,
      initrdAddrMax: number("initrd_addr_max"),
      kernelAlignment: number("kernel_alignment"),
      relocatableKernel: true,
      xloadflags: number("xloadflags"),
      cmdlineSize: number("cmdline_size"),
      payload: { offset: 8 * 512 + 0x321, length: 0x333 },
      prefAddress: field("pref_address"),
      initSize: number("init_size"),
      protectedModeOffset: 8 * 512,
      protectedModeLength: 0x1230,
    });
  });

  it("gives a copy of the header that ends where the jump says", () => {
    const bytes = makeBzImage({ jump: 0x7f });
    const { header } = read(bytes);
    assert.deepEqual(header, bytes.slice(0x1f1, 0x281));
    bytes.fill(0);
    assert.equal(header[0x206 - 0x1f1], 0x0f);
  });

  it("takes what boot.rst tells loaders to assume for the fields that an older protocol lacks", () => {
    const at = (version: number): BzImage =>
      read(makeBzImage({ version, payloadOffset: 16, payloadLength: 32 }));
    const rows: readonly (readonly [number, keyof BzImage, unknown, unknown])[] = [
      // since, field, before, from then on
      [0x203, "initrdAddrMax", 0x37ff_ffff, 0x7fff_ffff],
      [0x205, "kernelAlignment", 0x10_0000, 0x20_0000],
      [0x205, "relocatableKernel", false, true],
      [0x206, "cmdlineSize", 255, 2047],
      [0x208, "payload", undefined, { offset: 1024 + 16, length: 32 }],
      [0x20a, "prefAddress", 0x10_0000n, 0x100_0000n],
      [0x20a, "initSize", 3 * 4096, 0x2_0000],
      [0x20c, "xloadflags", 0, 0x7f],
    ];
    for (const [since, name, before, after] of rows) {
      assert.deepEqual(at(since - 1)[name], before, `${name} before ${formatProtocolVersion(since)}`);
      assert.deepEqual(at(since)[name], after, `${name} in ${formatProtocolVersion(since)}`);
    }
  });

  it("takes all of the file for the kernel before 2.04, where syssize is too narrow to tell", () => {
    const bytes = makeBzImage({ version: 0x203, syssize: 0x5678_0001, trailer: new Uint8Array(100) });
    const image = read(bytes);
    assert.equal(image.protectedModeLength, 4096 + 100);
    assert.throws(
      () => runSync(readBzImage(stream(bytes))),
      refusal("BZIMAGE_UNKNOWN_LENGTH", "stream", "2.03"),
    );
  });

  it("takes a payload up to the end of the protected-mode code, and none beyond", () => {
    assert.deepEqual(read(makeBzImage({ payloadOffset: 96, payloadLength: 4000 })).payload, {
      offset: 1024 + 96,
      length: 4000,
    });
    for (const [payloadOffset, payloadLength] of [
      [96, 4001],
      [4097, 0],
      [0xffff_ffff, 0xffff_ffff],
    ] as const) {
      const bytes = makeBzImage({ payloadOffset, payloadLength });
      assert.throws(() => read(bytes), refusal("BZIMAGE_BAD_PAYLOAD", "vmlinuz", `${payloadOffset}`));
    }
  });

  it("takes each protocol's shortest header, and none shorter", () => {
    const shortest: readonly (readonly [number, number])[] = [
      [0x200, 0x22],
      [0x201, 0x24],
      [0x202, 0x2a],
      [0x203, 0x2e],
      [0x204, 0x2e],
      [0x205, 0x33],
      [0x206, 0x3a],
      [0x207, 0x46],
      [0x208, 0x4e],
      [0x209, 0x56],
      [0x20a, 0x62],
      [0x20b, 0x66],
      [0x20e, 0x66],
      [0x20f, 0x6a],
    ];
    for (const [version, jump] of shortest) {
      assert.equal(read(makeBzImage({ version, jump })).header.byteLength, jump + 0x11);
      assert.throws(
        () => read(makeBzImage({ version, jump: jump - 1 })),
        refusal("BZIMAGE_BAD_HEADER_LENGTH", formatProtocolVersion(version)),
      );
    }
  });

  it("tells faults in the documented order, each by a code of its own", () => {
    const worst: BzImageShape = {
      bootFlag: 0,
      magic: 0,
      version: 0x1ff,
      jump: 0x80,
      loadflags: 0,
      syssize: 0,
      payloadOffset: 5000,
      payloadLength: 1,
    };
    const rows: readonly (readonly [DirectBootErrorCode | "accepted", BzImageShape])[] = [
      ["BZIMAGE_TRUNCATED", { ...worst, byteLength: 0x207 }],
      ["BZIMAGE_BAD_BOOT_FLAG", worst],
      ["BZIMAGE_BAD_MAGIC", { ...worst, bootFlag: 0xaa55 }],
      ["BZIMAGE_BAD_VERSION", { loadflags: 0, jump: 0x80, version: 0x1ff, syssize: 0 }],
      ["BZIMAGE_BAD_HEADER_LENGTH", { loadflags: 0, jump: 0x80, syssize: 0, payloadOffset: 5000 }],
      ["BZIMAGE_TRUNCATED", { loadflags: 0, syssize: 0, byteLength: 0x26b }],
      ["BZIMAGE_NOT_LOADED_HIGH", { loadflags: 0x80, syssize: 0, payloadOffset: 5000 }],
      ["BZIMAGE_NO_KERNEL", { syssize: 0, payloadOffset: 5000, payloadLength: 1 }],
      ["BZIMAGE_TRUNCATED", { syssize: 257, payloadOffset: 5000, payloadLength: 1 }],
      ["BZIMAGE_TRUNCATED", { syssize: 0xffff_ffff }],
      ["BZIMAGE_TRUNCATED", { byteLength: 1024 + 4096 - 16 }],
      ["BZIMAGE_TRUNCATED", { version: 0x200, byteLength: 1000 }],
      ["BZIMAGE_NO_KERNEL", { version: 0x200, syssize: 0, byteLength: 1024 }],
      ["BZIMAGE_BAD_PAYLOAD", { payloadOffset: 5000, payloadLength: 1 }],
      ["accepted", { byteLength: 1024 + 4096 - 15 }],
      ["accepted", {}],
    ];
    for (const [code, shape] of rows) {
      assert.equal(
        outcome(() => read(makeBzImage(shape))),
        code,
        JSON.stringify(shape),
      );
    }
  });

  it("says what a file is that is none", () => {
    assert.throws(() => read(new Uint8Array(0)), refusal("BZIMAGE_TRUNCATED", "an empty file of 0 bytes"));
    const gzip = new Uint8Array(0x300);
    gzip.set([0x1f, 0x8b]);
    assert.throws(() => read(gzip), refusal("BZIMAGE_BAD_BOOT_FLAG", "gzip-compressed data"));
    assert.throws(() => read(makeBzImage({ loadflags: 0 })), refusal("BZIMAGE_NOT_LOADED_HIGH", "zImage"));
  });
});
