import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { X86Register } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import {
  type ConfigOptions,
  type LoadX86Options,
  loadConfig,
  loadKernelAndInitrdX64,
  loadX86,
} from "../../src/x86/openvmm.js";
import { buildPageTables64 } from "../../src/x86/page-table.js";
import { buildZeroPage } from "../../src/x86/zero-page.js";
import { type ElfShape, makeElf } from "../support/elf-maker.js";
import { X86_64_GUEST } from "../support/paths.js";
import { outcome, refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";

const PAGE = 4096;
const MIB = 1 << 20;
const RAM = 32 * MIB;

const LOAD_INFO = { kernel: { gpa: 0x10_0000, size: 0x1000, entrypoint: 0x10_0040 } };

interface Changes {
  readonly commandLine?: Partial<ConfigOptions["commandLine"]>;
  readonly zeroPage?: Partial<ConfigOptions["zeroPage"]>;
  readonly acpi?: Partial<ConfigOptions["acpi"]>;
  readonly registers?: Partial<ConfigOptions["registers"]>;
}

function config(changes: Changes = {}): ConfigOptions {
  return {
    commandLine: { address: 0x3000, commandLine: "console=ttyS0", ...changes.commandLine },
    zeroPage: {
      address: 0x2000,
      memoryLayout: new MemoryLayout(RAM),
      acpiBaseAddress: 0xe_0000,
      acpiLength: 0x3000,
      ...changes.zeroPage,
    },
    acpi: {
      rdspAddress: 0xe_0000,
      rdsp: noise(36, 1),
      tablesAddress: 0xe_1000,
      tables: noise(5000, 2),
      ...changes.acpi,
    },
    registers: { gdtAddress: 0x1000, pageTableAddress: 0x4000, ...changes.registers },
  };
}

/** A kernel of one segment of 0x3000 bytes in memory at 1 MiB. */
function kernel(shape: ElfShape = {}): Uint8Array {
  const segment = { offset: 0x200n, paddr: 0x10_0000n, filesz: 0x1234n, memsz: 0x3000n };
  return makeElf({ entry: 0x10_0040n, segments: [segment], fill: noise(0x2000, 6), ...shape });
}

function recordConfig(changes: Changes = {}): RecordingImporter<X86Register> {
  const importer = new RecordingImporter<X86Register>();
  loadConfig(importer, LOAD_INFO, config(changes));
  return importer;
}

function codeOf(changes: Changes): string {
  return outcome(() => recordConfig(changes));
}

describe("loadConfig", () => {
  it("imports in upstream's order", () => {
    const names = recordConfig().calls.map((call) =>
      call.op === "pages"
        ? `${call.tag} 0x${(call.pageBase * 4096n).toString(16)}+${call.pageCount}`
        : call.register.name,
    );
    assert.deepEqual(names, [
      "linux-commandline 0x3000+1",
      "default-gdt 0x1000+1",
      "gdtr",
      "ds",
      "es",
      "fs",
      "gs",
      "ss",
      "cs",
      "linux-pagetables 0x4000+6",
      "linux-rdsp 0xe0000+1",
      "linux-acpi-tables 0xe1000+2",
      "linux-zeropage 0x2000+1",
      "cr0",
      "cr3",
      "cr4",
      "efer",
      "pat",
      "rip",
      "rsi",
      "mtrrDefType",
      "mtrrFix64k00000",
      "mtrrFix16k80000",
    ]);
  });

  it("sets the register values of SPEC §6", () => {
    const values = new Map<string, X86Register["value"]>();
    for (const call of recordConfig().calls) {
      if (call.op === "register") values.set(call.register.name, call.register.value);
    }
    const expected: Readonly<Record<string, bigint>> = {
      cr0: 0x8000_0001n,
      cr3: 0x4000n,
      cr4: 0x20n,
      efer: 0xd01n,
      pat: 0x0007_0406_0007_0406n,
      rip: 0x10_0040n,
      rsi: 0x2000n,
      mtrrDefType: 0xc00n,
      mtrrFix64k00000: 0x0606_0606_0606_0606n,
      mtrrFix16k80000: 0x0606_0606_0606_0606n,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(values.get(name), value, name);
    assert.deepEqual(values.get("gdtr"), { base: 0x1000n, limit: 31 });
  });

  it("imports the bytes that it was given, the zero page and page tables that the builders build", () => {
    const data = new Map<string, Uint8Array>();
    for (const call of recordConfig().calls) if (call.op === "pages") data.set(call.tag, call.data);
    assert.deepEqual(Buffer.from(data.get("linux-commandline") ?? []).toString("latin1"), "console=ttyS0\0");
    assert.deepEqual(data.get("linux-rdsp"), noise(36, 1));
    assert.deepEqual(data.get("linux-acpi-tables"), noise(5000, 2));
    assert.deepEqual(data.get("linux-pagetables"), buildPageTables64({ pageTableGpa: 0x4000 }));
    const { memoryLayout } = config().zeroPage;
    const zeroPage = buildZeroPage({
      memoryLayout,
      acpiBase: 0xe_0000,
      acpiLength: 0x3000,
      commandLine: { address: 0x3000, commandLine: "console=ttyS0" },
      initrdBase: 0,
      initrdSize: 0,
    });
    assert.deepEqual(data.get("linux-zeropage"), zeroPage);
  });

  it("neither imports an empty command line nor checks its alignment; its address must fit all the same", () => {
    for (const commandLine of ["", new Uint8Array(0)]) {
      const importer = recordConfig({ commandLine: { commandLine, address: 0x3001 } });
      assert.ok(importer.calls.every((call) => call.op !== "pages" || call.tag !== "linux-commandline"));
      const page = importer.calls.find((call) => call.op === "pages" && call.tag === "linux-zeropage");
      assert.ok(page?.op === "pages");
      const view = new DataView(page.data.buffer, page.data.byteOffset);
      assert.deepEqual([view.getUint32(0x228, true), view.getUint32(0x238, true)], [0x3001, 0]);
      const high = { commandLine: { commandLine, address: 1n << 32n } };
      assert.equal(codeOf(high), "ZERO_PAGE_COMMAND_LINE_TOO_HIGH");
    }
  });

  it("takes a command line of any bytes but NUL, and gives it a NUL and the pages that it needs", () => {
    for (const length of [1, 4095, 4096, 10_000]) {
      const text = new Uint8Array(length).fill(0xfe);
      const [first] = recordConfig({ commandLine: { commandLine: text, address: 0x20_0000 } }).calls;
      assert.ok(first?.op === "pages");
      assert.equal(first.pageCount, Math.ceil((length + 1) / PAGE));
      assert.equal(Buffer.compare(first.data, Buffer.concat([text, Buffer.alloc(1)])), 0);
    }
    assert.equal(codeOf({ commandLine: { commandLine: "a\0b" } }), "COMMAND_LINE_NUL");
    assert.equal(codeOf({ commandLine: { commandLine: Uint8Array.from([1, 0]) } }), "COMMAND_LINE_NUL");
  });

  it("gives the RSDP its page, whatever its length, and refuses one that is longer", () => {
    for (const length of [0, 20, 4096]) {
      const calls = recordConfig({ acpi: { rdsp: noise(length) } }).calls;
      const page = calls.find((call) => call.op === "pages" && call.tag === "linux-rdsp");
      assert.ok(page?.op === "pages");
      assert.deepEqual([page.pageCount, page.data.byteLength], [1, length]);
    }
    const long = (): unknown => recordConfig({ acpi: { rdsp: noise(4097) } });
    assert.throws(long, refusal("ACPI_RSDP_TOO_LONG", "4097", "4096"));
  });

  // SPEC §11.5: each row lacks the first fault of the row above.
  it("tells faults in upstream's order", () => {
    const nul: Changes = { commandLine: { commandLine: "\0", address: 1 } };
    const faults: readonly (readonly [Changes, string])[] = [
      [nul, "COMMAND_LINE_NUL"],
      [{ commandLine: { address: 1 } }, "command line address 0x1"],
      [{ registers: { gdtAddress: 2 } }, "GDT address 0x2"],
      [{ registers: { pageTableAddress: 3 } }, "page table address 0x3"],
      [{ acpi: { rdspAddress: 4 } }, "RSDP address 0x4"],
      [{ acpi: { tablesAddress: 5 } }, "ACPI tables address 0x5"],
      [{ acpi: { rdsp: noise(4097) } }, "the RSDP has 4097"],
      [{ zeroPage: { address: 6 } }, "zero page address 0x6"],
      [{ zeroPage: { acpiBaseAddress: 0 } }, "acpiBase is 0x0"],
    ];
    for (let first = 0; first < faults.length; first++) {
      let changes: Changes = {};
      for (const [fault] of faults.slice(first).reverse()) {
        changes = {
          commandLine: { ...changes.commandLine, ...fault.commandLine },
          zeroPage: { ...changes.zeroPage, ...fault.zeroPage },
          acpi: { ...changes.acpi, ...fault.acpi },
          registers: { ...changes.registers, ...fault.registers },
        };
      }
      const [, said = ""] = faults[first] ?? [];
      if (said === "COMMAND_LINE_NUL") assert.equal(codeOf(changes), said);
      else assert.throws(() => recordConfig(changes), { message: new RegExp(said) });
    }
  });

  it("refuses each address off a page, with its name", () => {
    const rows: readonly (readonly [Changes, string])[] = [
      [{ commandLine: { address: 0x3800 } }, "command line address 0x3800"],
      [{ registers: { gdtAddress: 0x1001 } }, "GDT address 0x1001"],
      [{ registers: { pageTableAddress: 0x4fff } }, "page table address 0x4fff"],
      [{ acpi: { rdspAddress: 0xe_0010 } }, "RSDP address 0xe0010"],
      [{ acpi: { tablesAddress: 0xe_1010 } }, "ACPI tables address 0xe1010"],
      [{ zeroPage: { address: 0x2001 } }, "zero page address 0x2001"],
    ];
    for (const [changes, said] of rows) {
      assert.throws(() => recordConfig(changes), refusal("UNALIGNED_ADDRESS", said));
    }
  });

  it("does not check that anything lies in RAM or in the kernel: that is for importers", () => {
    const far = { acpi: { rdspAddress: 1n << 40n, tablesAddress: 1n << 41n } };
    assert.equal(codeOf(far), "accepted");
  });

  it("tells the zero page where the initrd of the LoadInfo is", () => {
    const importer = new RecordingImporter<X86Register>();
    loadConfig(importer, { ...LOAD_INFO, initrd: { gpa: 0x20_0000n, size: 77 } }, config());
    const page = importer.calls.find((call) => call.op === "pages" && call.tag === "linux-zeropage");
    assert.ok(page?.op === "pages");
    const view = new DataView(page.data.buffer, page.data.byteOffset);
    assert.deepEqual([view.getUint32(0x218, true), view.getUint32(0x21c, true)], [0x20_0000, 77]);
    const high = { ...LOAD_INFO, initrd: { gpa: 1n << 32n, size: 1 } };
    const act = (): void => loadConfig(new RecordingImporter<X86Register>(), high, config());
    assert.throws(act, refusal("ZERO_PAGE_INITRD_TOO_HIGH"));
  });
});

describe("loadKernelAndInitrdX64", () => {
  it("says where the embedded guest lies, and puts its segments there", () => {
    const memory = GuestMemory.create(RAM);
    const importer = new GuestMemoryImporter<X86Register>(memory);
    const info = loadKernelAndInitrdX64(importer, { kernel: X86_64_GUEST, kernelMinimumStartAddress: MIB });
    // readelf -lW guests/x86_64.elf: 0xf64 bytes at 0x1000000 from 0x1000, 0x37 of 0x184d8 at 0x1001000 from 0x2000
    const file = readFileSync(X86_64_GUEST);
    assert.equal(info.kernel.gpa, 0x100_0000n);
    assert.equal(info.kernel.entrypoint, file.readBigUInt64LE(24));
    assert.equal(info.initrd, undefined);
    const first = file.readBigUInt64LE(64 + 32);
    const text = file.subarray(0x1000, 0x1000 + Number(first));
    assert.equal(Buffer.compare(memory.read(0x100_0000, text.byteLength), text), 0);
    assert.deepEqual(new Set(importer.regions.map(({ tag }) => tag)), new Set(["linux-kernel"]));
    const end = importer.regions.map(({ range }) => range.end).reduce((a, b) => (a > b ? a : b));
    assert.equal(info.kernel.gpa + info.kernel.size, end);
    assert.deepEqual(importer.registerList, []);
  });

  it("puts an initrd at the next 2 MiB boundary behind the kernel, or where it is told", () => {
    const load = (initrdAddress?: number | "AfterKernel"): unknown => {
      const importer = new RecordingImporter<X86Register>();
      const initrd = { initrd: noise(5000), ...(initrdAddress === undefined ? {} : { initrdAddress }) };
      const info = loadKernelAndInitrdX64(importer, {
        kernel: kernel(),
        kernelMinimumStartAddress: 0,
        initrd,
      });
      const last = importer.calls.at(-1);
      assert.ok(last?.op === "pages");
      assert.deepEqual(
        [last.tag, last.pageBase * 4096n, last.pageCount],
        ["linux-initrd", info.initrd?.gpa, 2],
      );
      assert.deepEqual(last.data, noise(5000));
      return [info.initrd?.gpa, info.initrd?.size];
    };
    assert.deepEqual(load(), [0x20_0000n, 5000n]);
    assert.deepEqual(load("AfterKernel"), [0x20_0000n, 5000n]);
    assert.deepEqual(load(0x80_1000), [0x80_1000n, 5000n]);
    assert.throws(() => load(0x80_1001), refusal("UNALIGNED_ADDRESS", "initrd address 0x801001"));
  });

  it("an initrd right behind a kernel that ends at a 2 MiB boundary starts there", () => {
    const segments = [{ paddr: 0x10_0000n, memsz: 0x10_0000n }];
    const importer = new RecordingImporter<X86Register>();
    const options = {
      kernel: kernel({ segments }),
      kernelMinimumStartAddress: 0,
      initrd: { initrd: noise(1) },
    };
    assert.equal(loadKernelAndInitrdX64(importer, options).initrd?.gpa, 0x20_0000n);
  });

  it("refuses a kernel that lies below its minimum start address, then looks no further", () => {
    const act = (start: number) => (): unknown =>
      loadKernelAndInitrdX64(new RecordingImporter<X86Register>(), {
        kernel: kernel(),
        kernelMinimumStartAddress: start,
        initrd: { initrd: noise(1), initrdAddress: 1 },
      });
    assert.throws(act(0x10_0041), refusal("ELF_INVALID_ENTRY_ADDRESS", "0x100040", "0x100041"));
    assert.throws(act(0x10_0001), refusal("ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET", "0x100000"));
    assert.throws(act(0x10_0000), refusal("UNALIGNED_ADDRESS", "initrd"));
  });

  it("an initrd that passes 2^64 is an overflow, not a wrap", () => {
    const initrd = { initrd: noise(5000), initrdAddress: (1n << 64n) - 4096n };
    const options = { kernel: kernel(), kernelMinimumStartAddress: 0, initrd };
    const act = (): unknown => loadKernelAndInitrdX64(new RecordingImporter<X86Register>(), options);
    assert.throws(act, refusal("ADDRESS_OVERFLOW", "initrd"));
  });

  it("needs sources that can be read synchronously", () => {
    const options = { kernel: asyncOnly(kernel()), kernelMinimumStartAddress: 0 };
    const act = (): unknown => loadKernelAndInitrdX64(new RecordingImporter<X86Register>(), options);
    assert.throws(act, refusal("SOURCE_NOT_SYNCHRONOUS"));
  });
});

describe("loadX86", () => {
  const options = (changes: Partial<LoadX86Options> = {}): LoadX86Options => ({
    kernel: kernel(),
    kernelMinimumStartAddress: MIB,
    ...config(),
    ...changes,
  });

  it("makes the calls of loadKernelAndInitrdX64, then those of loadConfig", () => {
    const initrd = { initrd: noise(5000) };
    const [whole, parts] = [new RecordingImporter<X86Register>(), new RecordingImporter<X86Register>()];
    const info = loadX86(whole, options({ initrd }));
    const partsInfo = loadKernelAndInitrdX64(parts, { ...options(), initrd });
    loadConfig(parts, partsInfo, config());
    assert.deepEqual(info, partsInfo);
    assert.deepEqual(whole.calls, parts.calls);
  });

  it("touches nothing when anything is wrong, whatever it is", () => {
    const doomed: readonly (readonly [Partial<LoadX86Options>, Parameters<typeof refusal>[0]])[] = [
      [{ kernel: kernel({ machine: 183 }) }, "ELF_TARGET_MACHINE_MISMATCH"],
      [{ kernel: kernel({ segments: [] }) }, "ELF_NO_LOADABLE_SEGMENT"],
      [{ kernel: kernel({ segments: [{ type: 4 }] }) }, "ELF_NO_LOADABLE_SEGMENT"],
      [{ kernel: kernel({ segments: [{ paddr: (1n << 64n) - 4096n, memsz: 4097n }] }) }, "REGION_OVERFLOW"],
      [
        { kernel: kernel({ segments: [{ paddr: 0x10_0000n, filesz: 2n, memsz: 1n }] }) },
        "REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH",
      ],
      [{ kernel: kernel().subarray(0, 0x1000) }, "REGION_READ"],
      // In the importer: outside RAM, on top of each other.
      [{ kernel: kernel({ segments: [{ paddr: 0x10_0000n, memsz: BigInt(RAM) }] }) }, "GUEST_MEMORY_NOT_RAM"],
      [{ initrd: { initrd: noise(1), initrdAddress: RAM } }, "GUEST_MEMORY_NOT_RAM"],
      [{ initrd: { initrd: noise(1), initrdAddress: 0x10_2000 } }, "IMPORT_OVERLAP"],
      [{ registers: { gdtAddress: 0x2000, pageTableAddress: 0x4000 } }, "IMPORT_OVERLAP"],
      [{ acpi: { ...config().acpi, tables: new Uint8Array(0) } }, "IMPORT_EMPTY"],
      [{ acpi: { ...config().acpi, rdsp: noise(5000) } }, "ACPI_RSDP_TOO_LONG"],
      [{ zeroPage: { ...config().zeroPage, address: 7 } }, "UNALIGNED_ADDRESS"],
      [{ zeroPage: { ...config().zeroPage, acpiLength: RAM } }, "ZERO_PAGE_BAD_ACPI"],
      [{ commandLine: { address: 0x3000, commandLine: "\0" } }, "COMMAND_LINE_NUL"],
      [{ registers: { gdtAddress: 1n << 52n, pageTableAddress: 0x4000 } }, "GDT_INVALID_ADDRESS"],
      [{ registers: { gdtAddress: 0x1000, pageTableAddress: 1n << 52n } }, "PAGE_TABLE_INVALID_ADDRESS"],
    ];
    for (const [changes, code] of doomed) {
      const bytes = noise(RAM / 8, 3);
      const memory = new Uint8Array(RAM);
      memory.set(bytes);
      const importer = new GuestMemoryImporter<X86Register>(GuestMemory.attach(memory.buffer));
      assert.throws(() => loadX86(importer, options(changes)), refusal(code));
      assert.equal(Buffer.compare(memory.subarray(0, bytes.byteLength), bytes), 0);
      assert.deepEqual([importer.regions, importer.registerList], [[], []]);
    }
  });

  it("is the image worked out by hand, for any place of its parts that fits", () => {
    const places = fc.shuffledSubarray([2, 3, 4, 5, 6, 7, 8, 20], { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(places, ([a = 0, b = 0, c = 0, d = 0]) => {
        const memory = GuestMemory.create(RAM);
        const importer = new GuestMemoryImporter<X86Register>(memory);
        const place = (index: number): number => index * 0x1_0000;
        loadX86(
          importer,
          options({
            commandLine: { address: place(a), commandLine: "quiet" },
            registers: { gdtAddress: place(b), pageTableAddress: place(c) },
            zeroPage: { ...config().zeroPage, address: place(d) },
          }),
        );
        assert.deepEqual(Buffer.from(memory.read(place(a), 6)).toString(), "quiet\0");
        assert.deepEqual(memory.read(place(c), 6 * PAGE), buildPageTables64({ pageTableGpa: place(c) }));
        const zeroPage = new DataView(memory.read(place(d), PAGE).buffer);
        assert.equal(zeroPage.getUint32(0x228, true), place(a));
        const registers = new Map(importer.registerList.map(({ name, value }) => [name, value]));
        assert.deepEqual(registers.get("gdtr"), { base: BigInt(place(b)), limit: 31 });
        assert.equal(registers.get("rsi"), BigInt(place(d)));
        assert.equal(registers.get("cr3"), BigInt(place(c)));
        assert.deepEqual(memory.read(MIB, 0x1234), kernel().slice(0x200, 0x1434));
        assert.ok(memory.read(MIB + 0x1234, 0x3000 - 0x1234).every((byte) => byte === 0));
      }),
      { numRuns: 30 },
    );
  });

  it("does not change the caller's buffers", () => {
    const inputs = {
      kernel: kernel(),
      initrd: noise(5000),
      rdsp: noise(36),
      tables: noise(4096),
      text: noise(9).map((b) => b | 1),
    };
    const before = structuredClone(inputs);
    loadX86(new GuestMemoryImporter<X86Register>(GuestMemory.create(RAM)), {
      ...options(),
      kernel: inputs.kernel,
      initrd: { initrd: inputs.initrd },
      acpi: { ...config().acpi, rdsp: inputs.rdsp, tables: inputs.tables },
      commandLine: { address: 0x3000, commandLine: inputs.text },
    });
    assert.deepEqual(inputs, before);
  });
});
