/** Options of plan, export and boot that go to the library: what they do to the guest. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { makeBzImage } from "../support/bzimage-maker.js";
import { directboot } from "../support/command.js";
import { makeDeviceTree, memoryTree } from "../support/device-tree-maker.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { assertOneLine } from "./sandbox.js";

const folder = tempFolder();
const bzImage = join(folder, "vmlinuz");
writeFileSync(bzImage, makeBzImage());
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

interface Exported {
  readonly info: { readonly kernel: { readonly gpa: string; readonly entrypoint: string } };
  /** A region's bytes, without the zeros at its end. */
  readonly region: (tag: string) => Buffer;
}

async function exported(...args: readonly string[]): Promise<Exported> {
  const out = mkdtempSync(join(folder, "out-"));
  const { status, stderr } = await directboot(["export", ...args, "--out", out]);
  assert.equal(status, 0, stderr);
  const { info, regions } = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
  const memory = readFileSync(join(out, "memory.bin"));
  return {
    info,
    region: (tag) => {
      const found = regions.find((each: { tag: string }) => each.tag === tag);
      assert.ok(found !== undefined, `there is no ${tag}`);
      return memory.subarray(Number(found.offset), Number(found.offset) + Number(found.fileLength));
    },
  };
}

describe("--kernel-address", () => {
  it("puts a bzImage where it says", async () => {
    const { info } = await exported(bzImage, "--kernel-address", "0x4000000");
    assert.equal(info.kernel.gpa, "0x4000000");
    assert.equal(info.kernel.entrypoint, "0x4000200");
  });
});

describe("--reserve", () => {
  /** e820_entries at 0x1e8, and the table at 0x2d0, 20 bytes each (boot.rst, zero-page.rst). */
  const e820 = (zeroPage: Buffer): string[] =>
    Array.from({ length: zeroPage[0x1e8] ?? 0 }, (_, index) => {
      const at = 0x2d0 + 20 * index;
      const start = zeroPage.readBigUInt64LE(at);
      const end = start + zeroPage.readBigUInt64LE(at + 8);
      return `0x${start.toString(16)}-0x${end.toString(16)}:${zeroPage.readUInt32LE(at + 16)}`;
    });

  it("is in the guest's e820 map, as often as it is given, reserved if it has no type", async () => {
    const ranges = ["--reserve", "0x9f000-0xa0000", "--reserve", "0xfec00000-0xfee00000:2"];
    const { region } = await exported(bzImage, ...ranges, "--reserve", "0x8000000-0x8001000:4");
    const map = e820(Buffer.concat([region("linux-zeropage"), Buffer.alloc(4096)]));
    for (const entry of ["0x9f000-0xa0000:2", "0xfec00000-0xfee00000:2", "0x8000000-0x8001000:4"]) {
      assert.ok(map.includes(entry), map.join(" "));
    }
  });
});

describe("--rng-seed", () => {
  /** struct setup_data: next u64, type u32, len u32, data; type 9 is the seed (asm/bootparam.h). */
  const seedOf = ({ region }: Exported): Buffer => {
    const data = Buffer.concat([region("linux-setup-data"), Buffer.alloc(4096)]);
    assert.equal(data.readUInt32LE(8), 9);
    return data.subarray(16, 16 + data.readUInt32LE(12));
  };

  it("hands the guest all bytes of a file", async () => {
    for (const length of [1, 32, 4096]) {
      const seed = Uint8Array.from({ length }, (_, index) => index * 7 + 1);
      assert.deepEqual(seedOf(await exported(bzImage, "--rng-seed", file("seed", seed))), Buffer.from(seed));
    }
  });

  it("takes 32 bytes of a device, which has no end", async () => {
    const seeds = [];
    for (let round = 0; round < 2; round++) {
      seeds.push(seedOf(await exported(bzImage, "--rng-seed", "/dev/urandom")).toString("hex"));
    }
    assert.deepEqual(
      seeds.map((seed) => seed.length),
      [64, 64],
    );
    assert.notEqual(seeds[0], seeds[1]);
  });

  it("takes a file that tells no size", async () => {
    const seed = seedOf(await exported(bzImage, "--rng-seed", "/proc/version"));
    assert.equal(seed.toString(), readFileSync("/proc/version", "utf8"));
  });
});

describe("--dtb", () => {
  const dtb = file("machine.dtb", memoryTree(256 << 20));
  const bare = file("bare.dtb", makeDeviceTree());
  for (const [command, out] of [
    ["plan", []],
    ["export", ["--out", "arm64"]],
    ["map", ["-o", "arm64.svg"]],
  ] as const) {
    it(`is needed by ${command} of an arm64 Image, and must have RAM`, async () => {
      const args = [command, AARCH64_GUEST, ...out];
      for (const [more, code] of [
        [[], "DEVICE_TREE_MISSING"],
        [["--dtb", bare], "DEVICE_TREE_MEMORY"],
      ] as const) {
        const { status, stdout, stderr } = await directboot([...args, ...more], { cwd: folder });
        assert.deepEqual([status, stdout], [1, ""]);
        assertOneLine(stderr, code);
      }
      const { status, stderr } = await directboot([...args, "--dtb", dtb], { cwd: folder });
      assert.equal(status, 0, stderr);
    });
  }
});

it("an option that does not fit the kernel, or whose value is wrong, is refused with its code", async () => {
  for (const [kernel, option, value, code] of [
    [X86_64_GUEST, "--kernel-address", "0x4000000", "OPTION_NOT_FOR_KERNEL"],
    [AARCH64_GUEST, "--kernel-address", "0x4000000", "OPTION_NOT_FOR_ARCHITECTURE"],
    [bzImage, "--kernel-address", "0x4000001", "UNALIGNED_ADDRESS"],
    [bzImage, "--reserve", "0xa0000-0x9f000", "E820_INVALID_ENTRY"],
    [bzImage, "--reserve", "0x9f000-0xa0000:1", "E820_INVALID_ENTRY"],
    [AARCH64_GUEST, "--reserve", "0x9f000-0xa0000", "OPTION_NOT_FOR_ARCHITECTURE"],
    [bzImage, "--rng-seed", file("empty", ""), "SOURCE_EMPTY"],
    [bzImage, "--rng-seed", "/dev/null", "SOURCE_EMPTY"],
    [bzImage, "--rng-seed", file("long", new Uint8Array(4097)), "SOURCE_TOO_LARGE"],
    [bzImage, "--rng-seed", folder, "SOURCE_NOT_FOUND"],
    [bzImage, "--rng-seed", join(folder, "missing"), "SOURCE_NOT_FOUND"],
    [AARCH64_GUEST, "--memory", "256M", "DEVICE_TREE_MISSING"],
  ] as const) {
    const { status, stdout, stderr } = await directboot(["plan", kernel, option, value]);
    assert.deepEqual([status, stdout], [1, ""]);
    assertOneLine(stderr, code);
  }
});
