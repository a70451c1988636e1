import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { loadLinuxSync } from "../../src/index.js";
import { describeStartInfo, describeZeroPage, type InspectedField } from "../../src/inspect/index.js";
import { buildBootParams } from "../../src/x86/boot-params.js";
import { E820_ACPI, E820_RAM } from "../../src/x86/e820.js";
import { buildHvmStartInfo, HVM_MEMMAP_ENTRY_BYTES, HVM_START_INFO_OFFSETS } from "../../src/x86/pvh.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { memberNames, preprocessed, setupHeaderMembers, structMembers } from "../support/c-structs.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();
const E820 = [
  { start: 0n, end: 0xe_0000n, type: E820_RAM },
  { start: 0xe_0000n, end: 0xe_2000n, type: E820_ACPI },
  { start: 0xe_2000n, end: 0x400_0000n, type: E820_RAM },
];
const zeroPage = buildBootParams({
  e820: E820,
  commandLine: { address: 0x3000n, byteLength: 11 },
  initrd: { address: 0x1_2345_6000n, byteLength: 0x789n },
  acpiRsdpAddress: 0xe_0000n,
});

const named = (fields: readonly InspectedField[], name: string): string[] => {
  const field = fields.find((each) => each.name === name);
  return field === undefined ? [] : [field.value, field.meaning];
};
const places = (fields: readonly InspectedField[]) =>
  fields.map(({ name, offset, size }) => ({ name, offset, size }));

/** All members of a struct of asm/bootparam.h, as the C compiler lays them out. */
function members(struct: string): { name: string; offset: number; size: number }[] {
  const names = memberNames(preprocessed("asm/bootparam.h", folder), new RegExp(`struct ${struct}\\s*\\{`));
  return structMembers(folder, "asm/bootparam.h", names, `struct ${struct}`).filter(
    ({ name }) => name !== "=",
  );
}

describe("describeZeroPage", () => {
  it("has every member of the kernel's struct boot_params, at its offset", () => {
    const fields = places(describeZeroPage(zeroPage));
    const outer = members("boot_params");
    const start = new Map(outer.map(({ name, offset }) => [name, offset]));
    const inner = (name: string, struct: string) =>
      members(struct).map((member) => ({
        ...member,
        name: `${name}.${member.name}`,
        offset: member.offset + (start.get(name) ?? 0),
      }));
    const entries = E820.flatMap((_, index) =>
      members("boot_e820_entry").map((member) => ({
        ...member,
        name: `e820_table[${index}].${member.name}`,
        offset: member.offset + (start.get("e820_table") ?? 0) + index * 20,
      })),
    );
    // _pad7 is what the setup header may grow into.
    const structs = ["screen_info", "efi_info", "hdr", "e820_table", "_pad7"];
    const wanted = [
      ...outer.filter(({ name }) => !structs.includes(name)),
      ...inner("screen_info", "screen_info"),
      ...inner("efi_info", "efi_info"),
      ...setupHeaderMembers(folder),
      ...entries,
    ];
    assert.deepEqual(
      fields,
      wanted.sort((a, b) => a.offset - b.offset),
    );
  });

  it("tells the values that were written, and what they mean", () => {
    const fields = describeZeroPage(zeroPage);
    assert.deepEqual(named(fields, "cmd_line_ptr"), ["0x3000", "address of the command line"]);
    assert.deepEqual(named(fields, "ramdisk_image"), ["0x23456000", "address of the initrd"]);
    assert.deepEqual(named(fields, "ext_ramdisk_image"), ["0x1", "the upper 32 bits of ramdisk_image"]);
    assert.deepEqual(named(fields, "acpi_rsdp_addr"), ["0xe0000", "ACPI's root pointer is at 0xe0000"]);
    assert.deepEqual(named(fields, "e820_entries"), ["0x3", "3 entries of e820_table are in use"]);
    assert.deepEqual(named(fields, "e820_table[1].addr"), ["0xe0000", "starts at 0xe0000"]);
    assert.deepEqual(named(fields, "e820_table[1].size"), ["0x2000", "8192 bytes"]);
    assert.deepEqual(named(fields, "e820_table[1].type"), ["0x3", "ACPI tables, reclaimable"]);
    assert.deepEqual(named(fields, "version"), ["0x20c", "boot protocol 2.12"]);
    assert.equal(named(fields, "kernel_info_offset")[1], "no field of protocol 2.12");
  });

  it("shows a bzImage's own header, with what the loader wrote into it", () => {
    const guest = loadLinuxSync({
      kernel: makeBzImage({}),
      memory: 64 << 20,
      commandLine: "console=ttyS0",
      decompress: "guest",
    });
    const region = guest.regions.find(({ tag }) => tag === "linux-zeropage");
    const fields = describeZeroPage(guest.memory.read(region?.range.start ?? 0n, 4096));
    assert.equal(named(fields, "type_of_loader")[0], "0xff");
    const line = guest.regions.find(({ tag }) => tag === "linux-commandline");
    assert.equal(named(fields, "cmd_line_ptr")[0], `0x${line?.range.start.toString(16)}`);
    assert.equal(named(fields, "header")[1], '"HdrS"');
  });

  it("gives the bytes of every field, whatever is in the page", () => {
    const bytes = fc.uint8Array({ minLength: 4096, maxLength: 4096 });
    fc.assert(
      fc.property(bytes, (page) => {
        for (const { name, offset, size, value } of describeZeroPage(page)) {
          const own = [...page.subarray(offset, offset + size)].reverse();
          const hex = own.map((byte) => byte.toString(16).padStart(2, "0")).join("");
          assert.equal(BigInt(value), BigInt(`0x${hex}`), name);
        }
      }),
      { numRuns: 20 },
    );
  });

  it("shows the entries that there is room for, whatever the count says", () => {
    const fields = describeZeroPage(new Uint8Array(4096).fill(0xff));
    assert.equal(fields.filter(({ name }) => name.startsWith("e820_table[")).length, 128 * 3);
  });

  it("refuses a page that is cut, and what is none", () => {
    assert.throws(
      () => describeZeroPage(zeroPage.subarray(1)),
      refusal("BOOT_PARAMS_BAD_E820", /4095 bytes/),
    );
    assert.throws(() => describeZeroPage("page" as never), TypeError);
  });

  it("is plain data: the same in JSON and in a message", () => {
    const fields = describeZeroPage(zeroPage);
    assert.deepEqual(JSON.parse(JSON.stringify(fields)), fields);
    assert.deepEqual(structuredClone(fields), fields);
  });
});

describe("describeStartInfo", () => {
  const bytes = buildHvmStartInfo(0x6000n, {
    commandLine: { address: 0x3000n, byteLength: 0 },
    initrd: { address: 0x10_0000n, byteLength: 5n },
    e820: E820,
  });

  it("has the fields of a PVH start info, its modules and its memory map, each where it lies", () => {
    const fields = describeStartInfo(bytes, 0x6000n);
    for (const [name, offset] of Object.entries(HVM_START_INFO_OFFSETS)) {
      assert.equal(fields.find((field) => field.name === name)?.offset, offset, name);
    }
    assert.deepEqual(named(fields, "magic"), ["0x336ec578", "the mark of a start info"]);
    assert.deepEqual(named(fields, "modules[0].paddr"), ["0x100000", "lies at 0x100000"]);
    assert.deepEqual(named(fields, "memmap[1].type"), ["0x3", "ACPI tables, reclaimable"]);
    assert.equal(fields.at(-1)?.name, "memmap[2].reserved");
    assert.equal((fields.at(-1)?.offset ?? 0) + 4, bytes.byteLength);
  });

  it("shows what is in the bytes, whatever the counts and addresses say", () => {
    assert.deepEqual(describeStartInfo(bytes.subarray(0, 55), 0x6000n), []);
    const cut = describeStartInfo(bytes.subarray(0, bytes.byteLength - HVM_MEMMAP_ENTRY_BYTES), 0x6000n);
    assert.equal(cut.at(-1)?.name, "memmap[1].reserved");
    assert.equal(describeStartInfo(bytes, 0n).length, 10);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.bigInt(0n, (1n << 64n) - 1n), (any, address) => {
        for (const { offset, size } of describeStartInfo(any, address)) {
          assert.ok(offset + size <= any.byteLength);
        }
      }),
    );
  });
});
