import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type BzImage, readBzImage } from "../../src/images/bzimage.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runSync } from "../../src/task/run.js";
import {
  BOOT_PARAMS_BYTES,
  BOOT_PARAMS_OFFSETS,
  type BootParamsOptions,
  buildBootParams,
} from "../../src/x86/boot-params.js";
import { E820_ENTRY_BYTES, E820_MAX_ENTRIES, type E820Entry } from "../../src/x86/e820.js";
import { buildZeroPage } from "../../src/x86/zero-page.js";
import { type BzImageShape, makeBzImage } from "../support/bzimage-maker.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const folder = tempFolder();

// The fields of boot_params that are within its struct setup_header.
const HEADER_FIELDS: ReadonlySet<string> = new Set([
  "boot_flag",
  "header",
  "version",
  "type_of_loader",
  "code32_start",
  "ramdisk_image",
  "ramdisk_size",
  "cmd_line_ptr",
  "kernel_alignment",
  "cmdline_size",
  "setup_data",
]);

// asm/bootparam.h: how wide the fields are, so that a field written too wide would overlap the next.
const SIZES: Readonly<Record<keyof typeof BOOT_PARAMS_OFFSETS, number>> = {
  acpi_rsdp_addr: 8,
  ext_ramdisk_image: 4,
  ext_ramdisk_size: 4,
  ext_cmd_line_ptr: 4,
  e820_entries: 1,
  boot_flag: 2,
  header: 4,
  version: 2,
  type_of_loader: 1,
  code32_start: 4,
  ramdisk_image: 4,
  ramdisk_size: 4,
  cmd_line_ptr: 4,
  kernel_alignment: 4,
  cmdline_size: 4,
  setup_data: 8,
  e820_table: 2560,
};

describe("the offsets of boot_params", () => {
  it("and the sizes of its fields are those of the kernel's own header", () => {
    const names = Object.keys(BOOT_PARAMS_OFFSETS) as (keyof typeof BOOT_PARAMS_OFFSETS)[];
    const print = names.map((name) => {
      const path = HEADER_FIELDS.has(name) ? `hdr.${name}` : name;
      return `  printf("${name} %zu %zu\\n", offsetof(struct boot_params, ${path}), sizeof(((struct boot_params *)0)->${path}));`;
    });
    const source = join(folder, "offsets.c");
    const program = join(folder, "offsets");
    writeFileSync(
      source,
      `#include <stddef.h>
#include <stdio.h>
#include <asm/bootparam.h>
int main(void) {
${print.join("\n")}
  printf("boot_params 0 %zu\\n", sizeof(struct boot_params));
  printf("boot_e820_entry %zu %zu\\n", offsetof(struct boot_e820_entry, type), sizeof(struct boot_e820_entry));
  printf("E820_MAX_ENTRIES_ZEROPAGE 0 %d\\n", E820_MAX_ENTRIES_ZEROPAGE);
  return 0;
}
`,
    );
    // -m64 makes it the x86-64 header's layout or an error.
    runTool("gcc libc6-dev linux-libc-dev", "cc", ["-m64", "-Wall", "-Werror", "-o", program, source]);
    const found = new Map<string, readonly [number, number]>();
    for (const line of runTool("gcc", program, []).trim().split("\n")) {
      const [name = "", offset, size] = line.split(" ");
      found.set(name, [Number(offset), Number(size)]);
    }
    for (const name of names) {
      assert.deepEqual(found.get(name), [BOOT_PARAMS_OFFSETS[name], SIZES[name]], name);
    }
    assert.deepEqual(found.get("boot_params"), [0, BOOT_PARAMS_BYTES]);
    assert.deepEqual(found.get("boot_e820_entry"), [16, E820_ENTRY_BYTES]);
    assert.deepEqual(found.get("E820_MAX_ENTRIES_ZEROPAGE"), [0, E820_MAX_ENTRIES]);
    assert.equal(found.size, names.length + 3);
  });
});

/** The reader's view of boot_params: fields by the offsets of zero-page.rst, written down again. */
interface Read {
  readonly version: number;
  readonly typeOfLoader: number;
  readonly sentinel: number;
  readonly commandLine: bigint;
  readonly initrd: bigint;
  readonly initrdSize: bigint;
  readonly setupData: bigint;
  readonly rsdp: bigint;
  readonly e820: E820Entry[];
}

/** Reads boot_params as Linux does: upper halves joined, e820_entries counted. */
function read(page: Uint8Array): Read {
  const view = new DataView(page.buffer, page.byteOffset);
  const wide = (low: number, high: number): bigint =>
    BigInt(view.getUint32(low, true)) | (BigInt(view.getUint32(high, true)) << 32n);
  return {
    version: view.getUint16(0x206, true),
    typeOfLoader: view.getUint8(0x210),
    sentinel: view.getUint8(0x1ef),
    commandLine: wide(0x228, 0xc8),
    initrd: wide(0x218, 0xc0),
    initrdSize: wide(0x21c, 0xc4),
    setupData: view.getBigUint64(0x250, true),
    rsdp: view.getBigUint64(0x70, true),
    e820: Array.from({ length: view.getUint8(0x1e8) }, (_, index) => {
      const at = 0x2d0 + index * 20;
      const start = view.getBigUint64(at, true);
      return {
        start,
        end: start + view.getBigUint64(at + 8, true),
        type: view.getUint32(at + 16, true),
      };
    }),
  };
}

const TWO_ENTRIES: readonly E820Entry[] = [
  { start: 0n, end: 0xa_0000n, type: 1 },
  { start: 0x10_0000n, end: 256n * MIB, type: 1 },
];

function options(changes: Partial<BootParamsOptions> = {}): BootParamsOptions {
  return { e820: TWO_ENTRIES, commandLine: { address: 0x3000n, byteLength: 13 }, ...changes };
}

function image(shape: BzImageShape = {}): BzImage {
  return runSync(readBzImage(new BytesSource(makeBzImage(shape), "vmlinuz")));
}

describe("buildBootParams", () => {
  it("writes what OpenVMM writes, and a version, for a kernel without a setup header", () => {
    const page = buildBootParams(
      options({
        e820: [
          { start: 0n, end: 0xe_0000n, type: 1 },
          { start: 0xe_0000n, end: 0xe_2000n, type: 3 },
          { start: 0xe_2000n, end: 256n * MIB, type: 1 },
        ],
        initrd: { address: 0x400_0000n, byteLength: 0x12345n },
      }),
    );
    const expected = buildZeroPage({
      memoryLayout: new MemoryLayout(256n * MIB),
      acpiBase: 0xe_0000,
      acpiLength: 0x2000,
      commandLine: { address: 0x3000, commandLine: "console=ttyS0" },
      initrdBase: 0x400_0000,
      initrdSize: 0x12345,
    });
    expected.set([0x0c, 0x02], 0x206);
    assert.deepEqual(page, expected);
  });

  it("copies a setup header up to its own end, and writes the boot loader's fields only", () => {
    const file = makeBzImage({ setupSects: 2, fields: [[0x26c, 8, -1n]] });
    const page = buildBootParams(
      options({
        image: image({ setupSects: 2, fields: [[0x26c, 8, -1n]] }),
        initrd: { address: 0x800_0000n, byteLength: 0x100n },
        code32Start: 0x100_0000n,
      }),
    );
    const expected = new Uint8Array(4096);
    expected.set(file.subarray(0x1f1, 0x26c), 0x1f1);
    const view = new DataView(expected.buffer);
    view.setUint8(0x1e8, 2);
    view.setUint8(0x210, 0xff);
    view.setUint32(0x214, 0x100_0000, true);
    view.setUint32(0x218, 0x800_0000, true);
    view.setUint32(0x21c, 0x100, true);
    view.setUint32(0x228, 0x3000, true);
    view.setBigUint64(0x250, 0n, true);
    view.setBigUint64(0x2d8, 0xa_0000n, true);
    view.setUint32(0x2e0, 1, true);
    view.setBigUint64(0x2e4, 0x10_0000n, true);
    view.setBigUint64(0x2ec, 255n * MIB, true);
    view.setUint32(0x2f4, 1, true);
    assert.deepEqual(page, expected);
  });

  it("refuses what the kernel's protocol has no field for", () => {
    const high = 1n << 32n;
    const limited: BzImageShape = { fields: [[0x236, 2, 0x7d]] };
    const rows: readonly (readonly [BzImageShape, Partial<BootParamsOptions>, string])[] = [
      [{ version: 0x201, jump: 0x26 }, {}, "cmd_line_ptr came with 2.02"],
      [{ version: 0x208 }, { setupDataAddress: 0x9000n }, "setup_data came with 2.09"],
      [{ version: 0x20b }, { commandLine: { address: high, byteLength: 0 } }, "boot protocol 2.11"],
      [limited, { initrd: { address: high, byteLength: 1n } }, "the address of the initrd"],
      [limited, { initrd: { address: 0x1000n, byteLength: high } }, "XLF_CAN_BE_LOADED_ABOVE_4G"],
    ];
    for (const [shape, changes, detail] of rows) {
      const act = (): unknown => buildBootParams(options({ image: image(shape), ...changes }));
      assert.throws(act, refusal("BOOT_PARAMS_NOT_SUPPORTED", detail));
    }
  });

  it("has addresses that are read back as they were given, below and above 4 GiB", () => {
    const anAddress = fc.oneof(
      fc.bigInt({ min: 1n, max: 0xffff_ffffn }),
      fc.bigInt({ min: 1n, max: (1n << 63n) - 1n }),
    );
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.tuple(anAddress, anAddress, anAddress, anAddress, anAddress),
        (ownHeader, [commandLine, initrd, initrdSize, setupData, rsdp]) => {
          const page = buildBootParams(
            options({
              image: ownHeader ? image() : undefined,
              commandLine: { address: commandLine, byteLength: 20 },
              initrd: { address: initrd, byteLength: initrdSize },
              setupDataAddress: setupData,
              acpiRsdpAddress: rsdp,
            }),
          );
          const found = read(page);
          assert.deepEqual(
            [found.commandLine, found.initrd, found.initrdSize, found.setupData, found.rsdp],
            [commandLine, initrd, initrdSize, setupData, rsdp],
          );
          assert.deepEqual(found.e820, TWO_ENTRIES);
          assert.deepEqual([found.typeOfLoader, found.sentinel], [0xff, 0]);
          assert.equal(found.version, ownHeader ? 0x020f : 0x020c);
        },
      ),
    );
  });
});

describe("the e820 table in boot_params", () => {
  it("holds the first 128 entries and no byte more", () => {
    const many = Array.from({ length: 300 }, (_, i) => ({
      start: BigInt(i) * GIB,
      end: BigInt(i) * GIB + MIB,
      type: 1 + (i % 5),
    }));
    for (const count of [128, 300]) {
      const page = buildBootParams(options({ e820: many.slice(0, count), setupDataAddress: 0x9000n }));
      assert.deepEqual(read(page).e820, many.slice(0, 128));
      assert.ok(page.subarray(0xcd0).every((byte) => byte === 0));
    }
  });

  it("has a map of one entry as two halves, which older kernels do not ignore", () => {
    for (const [start, end] of [
      [0n, 256n * MIB],
      [0x1001n, 0x5003n],
    ] as const) {
      const { e820 } = read(buildBootParams(options({ e820: [{ start, end, type: 1 }] })));
      const [low, high] = e820;
      assert.ok(low !== undefined && high !== undefined && e820.length === 2);
      assert.deepEqual([low.start, low.end, high.end], [start, high.start, end]);
      assert.ok(low.start < low.end && high.start < high.end);
      assert.deepEqual([low.type, high.type], [1, 1]);
    }
  });
});
