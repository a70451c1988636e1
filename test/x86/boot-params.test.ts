import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import {
  BOOT_PARAMS_BYTES,
  BOOT_PARAMS_OFFSETS,
  type BootParamsOptions,
  buildBootParams,
} from "../../src/x86/boot-params.js";
import { E820_ENTRY_BYTES, E820_MAX_ENTRIES, type E820Entry } from "../../src/x86/e820.js";
import { buildZeroPage } from "../../src/x86/zero-page.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const folder = tempFolder();

// The fields of boot_params that are within its struct setup_header.
const HEADER_FIELDS: ReadonlySet<string> = new Set([
  "setup_sects",
  "root_flags",
  "syssize",
  "boot_flag",
  "jump",
  "header",
  "version",
  "type_of_loader",
  "loadflags",
  "code32_start",
  "ramdisk_image",
  "ramdisk_size",
  "cmd_line_ptr",
  "initrd_addr_max",
  "kernel_alignment",
  "relocatable_kernel",
  "min_alignment",
  "xloadflags",
  "cmdline_size",
  "hardware_subarch",
  "hardware_subarch_data",
  "payload_offset",
  "payload_length",
  "setup_data",
  "pref_address",
  "init_size",
  "handover_offset",
  "kernel_info_offset",
]);

// asm/bootparam.h: how wide the fields are, so that a field written too wide would overlap the next.
const SIZES: Readonly<Record<keyof typeof BOOT_PARAMS_OFFSETS, number>> = {
  acpi_rsdp_addr: 8,
  ext_ramdisk_image: 4,
  ext_ramdisk_size: 4,
  ext_cmd_line_ptr: 4,
  e820_entries: 1,
  sentinel: 1,
  setup_sects: 1,
  root_flags: 2,
  syssize: 4,
  boot_flag: 2,
  jump: 2,
  header: 4,
  version: 2,
  type_of_loader: 1,
  loadflags: 1,
  code32_start: 4,
  ramdisk_image: 4,
  ramdisk_size: 4,
  cmd_line_ptr: 4,
  initrd_addr_max: 4,
  kernel_alignment: 4,
  relocatable_kernel: 1,
  min_alignment: 1,
  xloadflags: 2,
  cmdline_size: 4,
  hardware_subarch: 4,
  hardware_subarch_data: 8,
  payload_offset: 4,
  payload_length: 4,
  setup_data: 8,
  pref_address: 8,
  init_size: 4,
  handover_offset: 4,
  kernel_info_offset: 4,
  edd_mbr_sig_buffer: 64,
  e820_table: 2560,
  eddbuf: 492,
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

/** What the reader below understands of boot_params: fields by the offsets of zero-page.rst, written down again. */
interface Read {
  readonly version: number;
  readonly typeOfLoader: number;
  readonly sentinel: number;
  readonly commandLine: bigint;
  readonly cmdlineSize: number;
  readonly initrd: bigint;
  readonly initrdSize: bigint;
  readonly setupData: bigint;
  readonly rsdp: bigint;
  readonly code32Start: number;
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
    cmdlineSize: view.getUint32(0x238, true),
    initrd: wide(0x218, 0xc0),
    initrdSize: wide(0x21c, 0xc4),
    setupData: view.getBigUint64(0x250, true),
    rsdp: view.getBigUint64(0x70, true),
    code32Start: view.getUint32(0x214, true),
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
  return { e820: TWO_ENTRIES, commandLine: { address: 0x3000, byteLength: 13 }, ...changes };
}

/**
 * A file's setup header from 0x1f1 on, of `version`, with noise in every field that has no value here, and in what
 * follows the header: code, in a real kernel.
 */
function setupHeader(
  version = 0x020f,
  {
    end = 0x26c,
    xloadflags = 0x7f,
    cmdlineSize = 2047,
  }: { end?: number; xloadflags?: number; cmdlineSize?: number } = {},
): Uint8Array {
  const file = noise(0x400, 7);
  const view = new DataView(file.buffer);
  view.setUint16(0x1fe, 0xaa55, true);
  file.set([0xeb, end - 0x202], 0x200);
  file.set([0x48, 0x64, 0x72, 0x53], 0x202); // "HdrS"
  view.setUint16(0x206, version, true);
  view.setUint16(0x236, xloadflags, true);
  view.setUint32(0x238, cmdlineSize, true);
  return file.subarray(0x1f1);
}

describe("buildBootParams for a kernel without a setup header", () => {
  it("writes what the seeds write, and a version", () => {
    const page = buildBootParams(
      options({
        e820: [
          { start: 0n, end: 0xe_0000n, type: 1 },
          { start: 0xe_0000n, end: 0xe_2000n, type: 3 },
          { start: 0xe_2000n, end: 256n * MIB, type: 1 },
        ],
        initrd: { address: 0x400_0000, byteLength: 0x12345 },
      }),
    );
    const seeds = buildZeroPage({
      memoryLayout: new MemoryLayout(256n * MIB),
      acpiBase: 0xe_0000,
      acpiLength: 0x2000,
      commandLine: { address: 0x3000, commandLine: "console=ttyS0" },
      initrdBase: 0x400_0000,
      initrdSize: 0x12345,
    });
    seeds.set([0x0c, 0x02], 0x206);
    assert.deepEqual(page, seeds);
  });

  it("takes an empty command line at 0, but no other", () => {
    const empty = read(buildBootParams(options({ commandLine: { address: 0, byteLength: 0 } })));
    assert.equal(empty.commandLine, 0n);
    const act = (): unknown => buildBootParams(options({ commandLine: { address: 0, byteLength: 1 } }));
    assert.throws(act, refusal("BOOT_PARAMS_BAD_ADDRESS", "cmd_line_ptr", "0x0"));
  });
});

describe("buildBootParams with a kernel's setup header", () => {
  it("copies it up to its own end, and writes the boot loader's fields only", () => {
    const header = setupHeader();
    const page = buildBootParams(
      options({
        setupHeader: header,
        initrd: { address: 0x800_0000, byteLength: 0x100 },
        code32Start: 0x100_0000,
      }),
    );
    const expected = new Uint8Array(4096);
    expected.set(header.subarray(0, 0x26c - 0x1f1), 0x1f1);
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
    assert.equal(read(page).sentinel, 0);
    assert.equal(read(page).cmdlineSize, 2047);
  });

  it("copies nothing past 0x290, however far the header says that it reaches", () => {
    const page = buildBootParams(options({ setupHeader: setupHeader(0x020f, { end: 0x202 + 0xff }) }));
    const header = setupHeader(0x020f, { end: 0x202 + 0xff });
    assert.deepEqual(page.subarray(0x26c, 0x290), header.subarray(0x26c - 0x1f1, 0x290 - 0x1f1));
    assert.ok(page.subarray(0x290, 0x2d0).every((byte) => byte === 0));
  });

  it("refuses a header that is cut off, at any length", () => {
    const header = setupHeader();
    for (let length = 0; length < 0x26c - 0x1f1; length++) {
      const act = (): unknown => buildBootParams(options({ setupHeader: header.subarray(0, length) }));
      assert.throws(act, refusal("BOOT_PARAMS_BAD_SETUP_HEADER", `has ${length} bytes`));
    }
    buildBootParams(options({ setupHeader: header.subarray(0, 0x26c - 0x1f1) }));
  });

  it("refuses what is no setup header", () => {
    for (const at of [0x1fe, 0x202]) {
      const header = setupHeader().slice();
      header[at - 0x1f1] = 0;
      const act = (): unknown => buildBootParams(options({ setupHeader: header }));
      assert.throws(act, refusal("BOOT_PARAMS_BAD_SETUP_HEADER", "0xaa55", "HdrS"));
    }
    const text = "HdrS" as unknown as Uint8Array;
    assert.throws(() => buildBootParams(options({ setupHeader: text })), TypeError);
  });

  it("holds the command line to the kernel's own limit, in bytes", () => {
    const header = setupHeader(0x020f, { cmdlineSize: 100 });
    const build = (byteLength: number, from: Uint8Array): unknown =>
      buildBootParams(options({ setupHeader: from, commandLine: { address: 0x3000, byteLength } }));
    build(100, header);
    assert.throws(() => build(101, header), refusal("COMMAND_LINE_TOO_LONG", "101", "100"));
    // boot.rst: 255 before protocol 2.06, which brought cmdline_size.
    const old = setupHeader(0x0205, { end: 0x235 });
    build(255, old);
    assert.throws(() => build(256, old), refusal("COMMAND_LINE_TOO_LONG", "256", "255"));
  });

  it("refuses what the kernel's protocol has no field for", () => {
    const act = (header: Uint8Array, changes: Partial<BootParamsOptions>) => (): unknown =>
      buildBootParams(
        options({ setupHeader: header, commandLine: { address: 0x3000, byteLength: 0 }, ...changes }),
      );
    const high = 1n << 32n;
    const rows: readonly (readonly [Uint8Array, Partial<BootParamsOptions>, string])[] = [
      [setupHeader(0x0201, { end: 0x228 }), {}, "cmd_line_ptr came with 2.02"],
      [setupHeader(0x0208, { end: 0x250 }), { setupDataAddress: 0x9000 }, "setup_data came with 2.09"],
      [setupHeader(0x020b), { commandLine: { address: high, byteLength: 0 } }, "boot protocol 2.11"],
      [
        setupHeader(0x020f, { xloadflags: 1 }),
        { initrd: { address: high, byteLength: 1 } },
        "the address of the initrd",
      ],
      [
        setupHeader(0x020f, { xloadflags: 0x7d }),
        { initrd: { address: 0x1000, byteLength: high } },
        "XLF_CAN_BE_LOADED_ABOVE_4G",
      ],
    ];
    for (const [header, changes, detail] of rows) {
      assert.throws(act(header, changes), refusal("BOOT_PARAMS_NOT_SUPPORTED", detail));
    }
    const page = read(
      buildBootParams(options({ setupHeader: setupHeader(), initrd: { address: high, byteLength: high } })),
    );
    assert.deepEqual([page.initrd, page.initrdSize], [high, high]);
  });
});

describe("the addresses in boot_params", () => {
  it("are read back as they were given, below and above 4 GiB", () => {
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
              setupHeader: ownHeader ? setupHeader() : undefined,
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
  const many = (count: number): E820Entry[] =>
    Array.from({ length: count }, (_, i) => ({
      start: BigInt(i) * GIB,
      end: BigInt(i) * GIB + MIB,
      type: 1 + (i % 5),
    }));

  it("holds 128 entries and no byte more", () => {
    const page = buildBootParams(options({ e820: many(128) }));
    assert.deepEqual(read(page).e820, many(128));
    assert.ok(page.subarray(0xcd0).every((byte) => byte === 0));
  });

  it("takes the first 128 of more if there is setup_data for the rest", () => {
    const page = buildBootParams(options({ e820: many(300), setupDataAddress: 0x9000 }));
    assert.deepEqual(read(page).e820, many(128));
    assert.ok(page.subarray(0xcd0).every((byte) => byte === 0));
    const act = (): unknown => buildBootParams(options({ e820: many(129) }));
    assert.throws(act, refusal("BOOT_PARAMS_BAD_E820", "129", "128"));
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

  it("is never empty, and takes no entry that is none", () => {
    const act = (e820: readonly E820Entry[]) => (): unknown => buildBootParams(options({ e820 }));
    assert.throws(act([]), refusal("BOOT_PARAMS_BAD_E820", "empty"));
    assert.throws(
      act([...TWO_ENTRIES, { start: 2n, end: 1n, type: 1 }]),
      refusal("E820_INVALID_ENTRY", "e820 entry 2", "0x2-0x1"),
    );
  });
});
