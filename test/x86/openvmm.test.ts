import assert from "node:assert/strict";
import { describe, it } from "node:test";
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
import { type ElfShape, makeElf } from "../support/elf-maker.js";
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

  // SPEC §11.5: each row lacks the first fault of the row above.
  it("tells faults in OpenVMM's order", () => {
    const nul: Changes = { commandLine: { commandLine: "\0", address: 1 } };
    const faults: readonly (readonly [Changes, string])[] = [
      [nul, "COMMAND_LINE_NUL"],
      [{ commandLine: { address: 1 } }, "commandLine.address 0x1"],
      [{ registers: { gdtAddress: 2 } }, "registers.gdtAddress 0x2"],
      [{ registers: { pageTableAddress: 3 } }, "registers.pageTableAddress 0x3"],
      [{ acpi: { rdspAddress: 4 } }, "acpi.rdspAddress 0x4"],
      [{ acpi: { tablesAddress: 5 } }, "acpi.tablesAddress 0x5"],
      [{ acpi: { rdsp: noise(4097) } }, "the RSDP has 4097"],
      [{ zeroPage: { address: 6 } }, "zeroPage.address 0x6"],
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
});

describe("loadKernelAndInitrdX64", () => {
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
    assert.throws(() => load(0x80_1001), refusal("UNALIGNED_ADDRESS", "initrdAddress 0x801001"));
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
