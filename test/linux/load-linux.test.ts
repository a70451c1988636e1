import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { DirectBootError } from "../../src/base/errors.js";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { X86Register } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { loadLinux, planLinux } from "../../src/linux/load-linux.js";
import { loadLinuxSync, planLinuxSync } from "../../src/linux/load-linux-sync.js";
import type { LinuxGuest } from "../../src/linux/loaded-linux.js";
import type { LoadLinuxSyncOptions as LoadLinuxOptions } from "../../src/linux/options.js";
import { registerToJSON } from "../../src/linux/registers.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import type { MemoryInput } from "../../src/memory/memory-input.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { applyPlan, applyPlanSync } from "../../src/plan/apply.js";
import type { LoadProgress } from "../../src/plan/progress.js";
import { computeVariableMtrrs } from "../../src/x86/mtrr.js";
import { loadX86 } from "../../src/x86/openvmm.js";
import { makeElf } from "../support/elf-maker.js";
import { X86_64_GUEST } from "../support/paths.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { x86Registers } from "../support/x86-registers.js";

const MIB = 1 << 20;
const GIB = 2 ** 30;
const RAM = 64 * MIB;
const folder = tempFolder();
const kernel = new Uint8Array(readFileSync(X86_64_GUEST));

function options(changes: Partial<LoadLinuxOptions> = {}): LoadLinuxOptions {
  return { kernel, commandLine: "console=ttyS0 quiet", memory: RAM, ...changes };
}

function memoryOf({ memory }: LinuxGuest, byteLength = RAM): Uint8Array {
  return memory.read(0, byteLength);
}

/** The e820 map of a guest's zero page. */
function e820(guest: LinuxGuest): [start: bigint, end: bigint, type: number][] {
  const page = guest.memory.read(x86Registers(guest).rsi ?? 0n, 4096);
  const view = new DataView(page.buffer);
  return Array.from({ length: page[0x1e8] ?? 0 }, (_, index) => {
    const at = 0x2d0 + index * 20;
    const start = view.getBigUint64(at, true);
    return [start, start + view.getBigUint64(at + 8, true), view.getUint32(at + 16, true)];
  });
}

describe("loadLinuxSync", () => {
  it("gives memory, registers by name and in order, info, and what lies where", () => {
    const guest = loadLinuxSync(options());
    assert.equal(guest.memory.ramSize, BigInt(RAM));
    assert.deepEqual(
      guest.regions
        .map(({ range, tag }) => `${range} ${tag}`)
        .filter((line) => !line.endsWith("linux-kernel")),
      [
        "0x3000-0x4000 linux-commandline",
        "0x1000-0x2000 default-gdt",
        "0x4000-0xa000 linux-pagetables",
        "0xe0000-0xe1000 linux-rdsp",
        "0xe1000-0xe2000 linux-acpi-tables",
        "0x2000-0x3000 linux-zeropage",
      ],
    );
    assert.ok(guest.regions.some(({ tag }) => tag === "linux-kernel"));
    assert.equal(x86Registers(guest).rip, guest.info.kernel.entrypoint);
    assert.equal(x86Registers(guest).rsi, 0x2000n);
    assert.equal(x86Registers(guest).cr3, 0x4000n);
    assert.deepEqual(x86Registers(guest).cs, {
      base: 0n,
      limit: 0xffff_ffff,
      selector: 8,
      attributes: 0xa09b,
    });
    assert.equal(x86Registers(guest).rsp, undefined);
    for (const { name, value } of guest.registerList)
      assert.deepEqual(Object.entries(guest.registers).find(([key]) => key === name)?.[1], value);
    assert.equal(Object.keys(guest.registers).length, guest.registerList.length);
  });

  it("is loadX86 with the low-memory map of BOOT.md, and the variable MTRRs", () => {
    const guest = loadLinuxSync(options());
    const [expected, own] = [new RecordingImporter<X86Register>(), new RecordingImporter()];
    loadX86(expected, {
      kernel,
      kernelMinimumStartAddress: MIB,
      commandLine: { address: 0x3000, commandLine: "console=ttyS0 quiet" },
      zeroPage: {
        address: 0x2000,
        memoryLayout: new MemoryLayout(RAM),
        acpiBaseAddress: 0xe_0000,
        acpiLength: 0x2000,
      },
      acpi: {
        rdspAddress: 0xe_0000,
        rdsp: new Uint8Array(0),
        tablesAddress: 0xe_1000,
        tables: new Uint8Array(4096),
      },
      registers: { gdtAddress: 0x1000, pageTableAddress: 0x4000 },
    });
    const gap = new MemoryRange(3 * GIB, 4 * GIB);
    const mtrrs = computeVariableMtrrs(new MemoryLayout(RAM), 40, gap, MemoryRange.EMPTY);
    for (const register of mtrrs) expected.importVpRegister(register);
    applyPlanSync(planLinuxSync(options()), own);
    // OpenVMM leaves the protocol's version 0: with it older kernels would ignore setup_data.
    const said = (calls: typeof own.calls): unknown[] =>
      calls.map((call) => {
        if (call.op !== "pages" || call.tag !== "linux-zeropage") return call;
        const data = call.data.slice();
        data.fill(0, 0x206, 0x208);
        return { ...call, data };
      });
    assert.deepEqual(said(own.calls), said(expected.calls as typeof own.calls));
    const zeroPage = own.calls.find((call) => call.op === "pages" && call.tag === "linux-zeropage");
    assert.equal(zeroPage?.op === "pages" ? zeroPage.data[0x207] : undefined, 2);
    assert.deepEqual(
      guest.registerList,
      expected.calls.flatMap((call) => (call.op === "register" ? [call.register] : [])),
    );
  });

  it("fixed-only leaves the variable MTRRs out; the width is the caller's", () => {
    const names = loadLinuxSync(options({ mtrrs: "fixed-only" })).registerList.map(({ name }) => name);
    assert.ok(names.every((name) => !name.startsWith("mtrrPhys")));
    assert.ok(names.includes("mtrrDefType"));
    const mask = (physicalAddressWidth: number): bigint | undefined =>
      x86Registers(loadLinuxSync(options({ physicalAddressWidth }))).mtrrPhysMask0;
    assert.equal(mask(36), (1n << 36n) - (128n << 20n) + 0x800n);
    assert.equal(mask(46), (1n << 46n) - (128n << 20n) + 0x800n);
  });

  it("imports no command line where there is none, and any bytes as one", () => {
    for (const commandLine of [undefined, "", new Uint8Array(0)]) {
      const { regions } = loadLinuxSync(options({ commandLine }));
      assert.ok(regions.every(({ tag }) => tag !== "linux-commandline"));
    }
    const guest = loadLinuxSync(options({ commandLine: Uint8Array.from([0xff, 0xe4]) }));
    assert.deepEqual(guest.memory.read(0x3000, 3), Uint8Array.from([0xff, 0xe4, 0]));
    const umlaut = loadLinuxSync(options({ commandLine: "ü" }));
    assert.deepEqual(umlaut.memory.read(0x3000, 3), Uint8Array.from([0xc3, 0xbc, 0]));
  });

  it("puts the initrd at the next 2 MiB boundary, or where it is told, and tells the kernel", () => {
    const initrd = noise(5000);
    for (const initrdAddress of [undefined, 0x200_1000, 0x200_1000n]) {
      const guest = loadLinuxSync(options({ initrd, addresses: { initrd: initrdAddress } }));
      const gpa = guest.info.initrd?.gpa;
      assert.equal(guest.info.initrd?.size, 5000n);
      const end = guest.info.kernel.gpa + guest.info.kernel.size;
      const behind = ((end + 0x1f_ffffn) / 0x20_0000n) * 0x20_0000n;
      const isTold = initrdAddress !== undefined;
      assert.equal(gpa, isTold ? 0x200_1000n : behind);
      assert.deepEqual(guest.memory.read(gpa ?? 0n, 5000), initrd);
      const zeroPage = new DataView(guest.memory.read(0x2000, 4096).buffer);
      assert.equal(zeroPage.getUint32(0x218, true), Number(gpa));
      assert.equal(zeroPage.getUint32(0x21c, true), 5000);
    }
  });

  it("puts ACPI tables where the zero page says, and zeros where there are none", () => {
    const acpi = { rsdp: noise(36), tables: noise(9000, 2) };
    const guest = loadLinuxSync(options({ acpi }));
    assert.deepEqual(guest.memory.read(0xe_0000, 36), acpi.rsdp);
    assert.deepEqual(guest.memory.read(0xe_1000, 9000), acpi.tables);
    assert.deepEqual(e820(guest)[1], [0xe_0000n, 0xe_4000n, 3]);
    assert.deepEqual(e820(loadLinuxSync(options()))[1], [0xe_0000n, 0xe_2000n, 3]);
  });

  it("splits RAM above 3 GiB as QEMU does: [0, 3 GiB) and [4 GiB, …)", () => {
    const ends = (memory: number | bigint): string[] =>
      planLinuxSync(options({ memory })).layout.ram.map(({ range }) => `${range}`);
    assert.deepEqual(ends(3 * GIB), ["0x0-0xc0000000"]);
    assert.deepEqual(ends(3 * GIB + 4096), ["0x0-0xc0000000", "0x100000000-0x100001000"]);
    assert.deepEqual(ends(BigInt(6 * GIB)), ["0x0-0xc0000000", "0x100000000-0x1c0000000"]);
    const guest = loadLinuxSync(options({ memory: 3.5 * GIB }));
    assert.deepEqual(e820(guest).at(-1), [0x1_0000_0000n, 0x1_2000_0000n, 1]);
    assert.equal(x86Registers(guest).mtrrPhysBase2, 0x1_0000_0006n);
    assert.equal(guest.memory.read(0x1_1fff_ffff, 1).byteLength, 1);
    const large = loadLinuxSync(options({ memory: 6 * GIB }));
    assert.equal(large.memory.crc32(0x100_0000, 4096), guest.memory.crc32(0x100_0000, 4096));
  });

  describe("takes memory of every kind, and puts the same bytes there:", () => {
    const expected = memoryOf(loadLinuxSync(options()));
    const over = (buffer: ArrayBufferLike, offset = 0): Uint8Array => new Uint8Array(buffer, offset, RAM);
    const linear = new WebAssembly.Memory({ initial: RAM / 65536 });
    const sharedLinear = new WebAssembly.Memory({ initial: RAM / 65536, maximum: RAM / 65536, shared: true });
    const [plain, shared, larger] = [
      new ArrayBuffer(RAM),
      new SharedArrayBuffer(RAM),
      new ArrayBuffer(RAM + 8192),
    ];
    const made = GuestMemory.create(RAM);
    const bank = { guestPhysicalAddress: 0, byteOffset: 4096, byteLength: RAM };
    const kinds: readonly (readonly [string, MemoryInput, (() => Uint8Array) | undefined])[] = [
      ["a number", RAM, undefined],
      ["a bigint", BigInt(RAM), undefined],
      ["a MemoryLayout", new MemoryLayout(RAM), undefined],
      ["a GuestMemory", made, () => made.view(0, RAM)],
      ["a WebAssembly.Memory", linear, () => over(linear.buffer)],
      ["a shared WebAssembly.Memory", sharedLinear, () => over(sharedLinear.buffer)],
      ["an ArrayBuffer", plain, () => over(plain)],
      ["a SharedArrayBuffer", shared, () => over(shared)],
      ["a buffer with banks", { buffer: larger, banks: [bank] }, () => over(larger, 4096)],
    ];
    for (const [kind, memory, bytes] of kinds) {
      it(kind, async () => {
        const guest = loadLinuxSync(options({ memory }));
        assert.equal(Buffer.compare(memoryOf(guest), expected), 0);
        if (bytes !== undefined) assert.equal(Buffer.compare(bytes(), expected), 0);
        if (memory instanceof GuestMemory) assert.equal(guest.memory, memory);
        const again = await loadLinux(options({ memory }));
        assert.equal(Buffer.compare(memoryOf(again), expected), 0);
        assert.deepEqual(again.registerList, guest.registerList);
      });
    }

    it("and writes nothing outside the banks or the plan's ranges", () => {
      assert.ok(new Uint8Array(larger, 0, 4096).every((byte) => byte === 0));
      assert.ok(new Uint8Array(larger, RAM + 4096).every((byte) => byte === 0));
      const bytes = new Uint8Array(RAM).fill(0xdb);
      const { regions } = loadLinuxSync(options({ memory: bytes.buffer }));
      for (const { range } of regions) bytes.fill(0xdb, Number(range.start), Number(range.end));
      assert.ok(bytes.every((byte) => byte === 0xdb));
    });
  });

  it("is a TypeError for memory, MTRRs or inputs that are none", () => {
    const bad: readonly Partial<Record<keyof LoadLinuxOptions, unknown>>[] = [
      { memory: undefined },
      { memory: null },
      { memory: "64M" },
      { memory: {} },
      { memory: 1.5 },
      { memory: new Uint8Array(RAM) },
      { memory: { buffer: {}, banks: [] } },
      { mtrrs: "all" },
      { kernel: 5 },
      { kernel: undefined },
      { initrd: null },
      { commandLine: 5 },
      { physicalAddressWidth: 40.5 },
    ];
    for (const changes of bad) {
      assert.throws(
        () => loadLinuxSync({ ...options(), ...(changes as object) }),
        TypeError,
        Object.keys(changes).join(),
      );
    }
  });

  it("refuses RAM sizes that are none", () => {
    assert.throws(() => loadLinuxSync(options({ memory: 0 })), refusal("LAYOUT_BAD_SIZE"));
    assert.throws(() => loadLinuxSync(options({ memory: RAM + 1 })), refusal("LAYOUT_BAD_SIZE"));
    assert.throws(() => loadLinuxSync(options({ memory: -4096 })), refusal("ADDRESS_OUT_OF_RANGE", "memory"));
    const banks: [] = [];
    const memory = { buffer: new ArrayBuffer(4096), banks };
    assert.throws(() => loadLinuxSync(options({ memory })), refusal("GUEST_MEMORY_BAD_BANKS"));
  });

  it("says what has no room in RAM that is too small", () => {
    const start = planLinuxSync(options()).info.kernel.gpa;
    const small = new MemoryLayout(start);
    const said = refusal("GUEST_MEMORY_NOT_RAM", "linux-kernel", `0x0-0x${start.toString(16)}`);
    assert.throws(() => loadLinuxSync(options({ memory: small })), said);
    const initrd = noise(RAM);
    assert.throws(() => loadLinuxSync(options({ initrd })), refusal("PLACEMENT_NO_ROOM", "linux-initrd"));
    assert.throws(() => loadLinuxSync(options({ memory: 0x8_0000 })), DirectBootError);
  });

  it("names what an initrd collides with", () => {
    const places: readonly (readonly [number, string])[] = [
      [0xe_0000, "linux-rdsp"],
      [0xe_1000, "linux-acpi-tables"],
      [0x100_0000, "linux-kernel"],
    ];
    for (const [initrdAddress, other] of places) {
      const plan = (): unknown =>
        planLinuxSync(options({ initrd: noise(1), addresses: { initrd: initrdAddress } }));
      assert.throws(
        plan,
        refusal("IMPORT_OVERLAP", "linux-initrd", other, `0x${initrdAddress.toString(16)}`),
      );
    }
  });

  it("puts what would collide with an initrd elsewhere, and what the caller has placed nowhere else", () => {
    for (const initrdAddress of [0x1000, 0x2000, 0x3000, 0x4000, 0x9000]) {
      const guest = loadLinuxSync(options({ initrd: noise(1), addresses: { initrd: initrdAddress } }));
      assert.equal(guest.info.initrd?.gpa, BigInt(initrdAddress));
      assert.equal(guest.regions.length, loadLinuxSync(options()).regions.length + 1);
    }
    const names = ["gdt", "zeroPage", "commandLine", "pageTables", "rsdp", "acpiTables"] as const;
    for (const name of names) {
      const addresses = { [name]: 0x8_0000 };
      assert.ok(planLinuxSync(options({ addresses })).pages.some(({ range }) => range.start === 0x8_0000n));
      const twice = options({ addresses: { ...addresses, initrd: 0x8_0000 }, initrd: noise(1) });
      assert.throws(() => planLinuxSync(twice), refusal("IMPORT_OVERLAP", "linux-initrd", "0x80000"));
    }
  });

  it("refuses a command line that is longer than the kernel keeps", () => {
    assert.equal(planLinuxSync(options({ commandLine: "x".repeat(2047) })).pages.length > 0, true);
    const long = (): unknown => planLinuxSync(options({ commandLine: "x".repeat(2048) }));
    assert.throws(long, refusal("COMMAND_LINE_TOO_LONG", "2048", "2047"));
  });

  it("refuses an empty initrd, with what to do", () => {
    for (const initrd of [new Uint8Array(0), new ArrayBuffer(0)]) {
      assert.throws(() => loadLinuxSync(options({ initrd })), refusal("SOURCE_EMPTY", "initrd", "leave"));
    }
    const path = join(folder, "empty");
    writeFileSync(path, "");
    assert.throws(() => loadLinuxSync(options({ initrd: path })), refusal("SOURCE_EMPTY", path));
  });

  it("says what a file is that is no kernel", () => {
    const gzip = Uint8Array.from({ length: 100 }, (_, i) => [0x1f, 0x8b][i] ?? 0);
    const files: readonly (readonly [Uint8Array, Parameters<typeof refusal>[0], string])[] = [
      [new Uint8Array(0), "NO_KERNEL_INSIDE", "empty"],
      [gzip, "DECOMPRESS_CORRUPT", "gzip"],
      [makeElf({ machine: 183 }), "ELF_TARGET_MACHINE_MISMATCH", "183"],
      [makeElf({ entry: 0x10_0000n }), "ELF_NO_LOADABLE_SEGMENT", "PT_LOAD"],
    ];
    for (const [bytes, code, said] of files) {
      assert.throws(() => loadLinuxSync(options({ kernel: bytes })), refusal(code, said));
    }
  });

  it("touches nothing of the caller's memory when anything is wrong", () => {
    const bytes = noise(4 * MIB);
    const memory = bytes.slice().buffer;
    for (const changes of [
      { commandLine: "\0" },
      { initrd: new Uint8Array(0) },
      { addresses: { initrd: 5 }, initrd: noise(1) },
      { mtrrs: "none" as "variable" },
      { acpi: { rsdp: new Uint8Array(4097), tables: new Uint8Array(1) } },
      {},
    ]) {
      assert.throws(() => loadLinuxSync(options({ memory, ...changes })));
      assert.equal(Buffer.compare(new Uint8Array(memory), bytes), 0);
    }
  });

  it("does not change the caller's buffers", () => {
    const inputs = { kernel: kernel.slice(), initrd: noise(5000), rsdp: noise(20), tables: noise(100) };
    const before = structuredClone(inputs);
    const { rsdp, tables, ...rest } = inputs;
    loadLinuxSync({ ...rest, acpi: { rsdp, tables }, memory: RAM });
    assert.deepEqual(inputs, before);
  });

  it("reads paths and file: URLs, and leaves no file open, whatever happens", async () => {
    const open = (): number => readdirSync("/proc/self/fd").length;
    const expected = memoryOf(loadLinuxSync(options({ initrd: kernel })));
    const before = open();
    const files = { kernel: X86_64_GUEST, initrd: pathToFileURL(X86_64_GUEST) };
    assert.equal(Buffer.compare(memoryOf(loadLinuxSync(options(files))), expected), 0);
    assert.equal(Buffer.compare(memoryOf(await loadLinux(options(files))), expected), 0);
    assert.throws(
      () => loadLinuxSync(options({ ...files, addresses: { initrd: 5 } })),
      refusal("UNALIGNED_ADDRESS"),
    );
    await assert.rejects(
      loadLinux(options({ ...files, addresses: { initrd: 5 } })),
      refusal("UNALIGNED_ADDRESS"),
    );
    assert.throws(
      () => loadLinuxSync(options({ ...files, initrd: join(folder, "no") })),
      refusal("SOURCE_NOT_FOUND"),
    );
    assert.throws(() => planLinuxSync(options({ ...files, commandLine: "\0" })), refusal("COMMAND_LINE_NUL"));
    await assert.rejects(planLinux(options({ ...files, commandLine: "\0" })), refusal("COMMAND_LINE_NUL"));
    assert.equal(open(), before);
  });

  it("a file that breaks while it is loaded is told with its cause, and every page is zero", () => {
    const reason = new Error("the disk is gone");
    // The headers are read by two or three requests, the pages after them.
    let isLoading = false;
    const source = new BreakingSource(kernel, Number.POSITIVE_INFINITY, undefined);
    const readSync = source.readSync.bind(source);
    source.readSync = (target, offset) => {
      if (isLoading) throw reason;
      readSync(target, offset);
    };
    const memory = new Uint8Array(RAM).fill(0x11);
    const onProgress = ({ phase }: LoadProgress): void => {
      isLoading ||= phase === "load";
    };
    const act = (): unknown =>
      loadLinuxSync({ ...options({ kernel: source, memory: memory.buffer }), onProgress });
    assert.throws(act, refusalBecause("REGION_READ", reason, "linux-kernel"));
    assert.ok(memory.every((byte) => byte === 0x11 || byte === 0));
    assert.ok(memory.subarray(0x100_0000, 0x100_0100).every((byte) => byte === 0));
  });

  it("reports its progress", () => {
    const seen: LoadProgress[] = [];
    loadLinuxSync({ ...options(), onProgress: (progress) => void seen.push(progress) });
    assert.equal(seen[0]?.loaded, 0);
    assert.equal(seen.at(-1)?.loaded, seen.at(-1)?.total);
    assert.ok(seen.length > 5);
  });
});

describe("loadLinux", () => {
  it("gives the same as loadLinuxSync, from sources that can only be read asynchronously", async () => {
    const expected = loadLinuxSync(options({ initrd: noise(9000) }));
    const sources = { kernel: asyncOnly(kernel), initrd: asyncOnly(noise(9000)) };
    const guest = await loadLinux(options(sources));
    assert.equal(Buffer.compare(memoryOf(guest), memoryOf(expected)), 0);
    assert.deepEqual(guest.registerList, expected.registerList);
    assert.deepEqual(guest.regions, expected.regions);
    assert.deepEqual(guest.info, expected.info);
    assert.throws(() => loadLinuxSync(options(sources)), refusal("SOURCE_NOT_SYNCHRONOUS"));
    assert.throws(
      () => loadLinuxSync(options({ initrd: sources.initrd })),
      refusal("SOURCE_NOT_SYNCHRONOUS"),
    );
  });

  it("is ABORTED by its signal, before it starts and in the middle, and the memory is as zero as before", async () => {
    const reason = new Error("not wanted");
    const signal = AbortSignal.abort(reason);
    const matches = refusalBecause("ABORTED", reason);
    await assert.rejects(loadLinux({ ...options(), signal }), matches);
    await assert.rejects(loadLinux({ ...options({ kernel: asyncOnly(kernel) }), signal }), matches);
    await assert.rejects(planLinux({ ...options(), signal }), matches);
    const memory = GuestMemory.create(RAM);
    const controller = new AbortController();
    const onProgress = ({ loaded }: LoadProgress): void => {
      if (loaded > 0) controller.abort(reason);
    };
    const load = loadLinux({
      ...options({ memory, kernel: asyncOnly(kernel) }),
      signal: controller.signal,
      onProgress,
    });
    await assert.rejects(load, matches);
    assert.ok(memory.read(0, RAM).every((byte) => byte === 0));
  });
});

describe("a plan", () => {
  it("is made without touching memory, and applied gives what loadLinux gives, many times", async () => {
    const memory = new Uint8Array(RAM).fill(0x55);
    const plan = planLinuxSync(options({ memory: memory.buffer }));
    assert.ok(memory.every((byte) => byte === 0x55));
    const expected = loadLinuxSync(options());
    for (let i = 0; i < 3; i++) {
      const importer = new GuestMemoryImporter(GuestMemory.create(plan.layout));
      if (i === 2) await applyPlan(plan, importer);
      else applyPlanSync(plan, importer);
      assert.equal(Buffer.compare(importer.memory.read(0, RAM), memoryOf(expected)), 0);
      assert.deepEqual(importer.registerList, expected.registerList);
    }
  });

  it("is the same made asynchronously", async () => {
    const [first, second] = [
      planLinuxSync(options()),
      await planLinux(options({ kernel: asyncOnly(kernel, "kernel") })),
    ];
    assert.equal(JSON.stringify(first), JSON.stringify(second));
  });

  it("lists its pages and registers, and what it is for", () => {
    const plan = planLinuxSync(options({ initrd: noise(1) }));
    const guest = loadLinuxSync(options({ initrd: noise(1) }));
    assert.deepEqual(
      plan.pages.map(({ range, tag }) => `${range} ${tag}`),
      guest.regions.map(({ range, tag }) => `${range} ${tag}`),
    );
    assert.deepEqual(plan.registerList, guest.registerList);
    assert.deepEqual(plan.info, guest.info);
    assert.deepEqual([plan.architecture, plan.entryMode], ["x86_64", "long64"]);
    assert.equal(`${plan.layout}`, `0x0-0x${RAM.toString(16)}`);
  });

  it("refuses ACPI tables without a byte, as a load would", () => {
    const acpi = { rsdp: new Uint8Array(36), tables: new Uint8Array(0) };
    assert.throws(() => planLinuxSync(options({ acpi })), refusal("SOURCE_EMPTY", "acpi.tables"));
  });

  it("keeps the files open that it opened, until it is closed", () => {
    const plan = planLinuxSync(options({ kernel: X86_64_GUEST }));
    const importer = (): GuestMemoryImporter => new GuestMemoryImporter(GuestMemory.create(plan.layout));
    applyPlanSync(plan, importer());
    plan.close();
    plan.close();
    assert.throws(() => applyPlanSync(plan, importer()), refusal("REGION_READ", "closed"));
  });

  it("that is closed says so once, and what to do", () => {
    const plan = planLinuxSync(options({ kernel: X86_64_GUEST }));
    const memory = GuestMemory.create(plan.layout);
    plan.close();
    assert.throws(
      () => applyPlanSync(plan, memory),
      (error) =>
        error instanceof DirectBootError &&
        /^linux-kernel: reading failed midway: \S+ is closed; every page that was written is zero again; make the plan or the source anew, [^;]*$/.test(
          error.message,
        ),
    );
  });

  it("as JSON has hex strings for addresses, numbers for bytes, with the name and length of each source", () => {
    const plan = planLinuxSync(options({ initrd: noise(5000) }));
    const parsed: unknown = JSON.parse(JSON.stringify(plan));
    assert.ok(
      typeof parsed === "object" && parsed !== null && "steps" in parsed && Array.isArray(parsed.steps),
    );
    assert.equal(parsed.steps.length, plan.steps.length);
    assert.ok("sources" in parsed);
    assert.deepEqual(parsed.sources, [
      { name: "kernel", byteLength: kernel.byteLength },
      { name: "initrd", byteLength: 5000 },
    ]);
    const initrd: unknown = parsed.steps.find((step: { tag?: string }) => step.tag === "linux-initrd");
    assert.deepEqual(initrd, {
      kind: "pages",
      tag: "linux-initrd",
      gpa: `0x${plan.info.initrd?.gpa.toString(16)}`,
      length: 8192,
      acceptance: "Exclusive",
      data: { kind: "source", source: 1, offset: 0, length: 5000, leadingBytes: 0 },
    });
    const gdtr: unknown = parsed.steps.find((step: { name?: string }) => step.name === "gdtr");
    assert.deepEqual(gdtr, { kind: "register", name: "gdtr", value: { base: "0x1000", limit: "0x1f" } });
  });
});

describe("JSON", () => {
  it("of a register is its value in hex strings", () => {
    assert.equal(registerToJSON({ name: "rip", value: 255n }), "0xff");
    const cs = { base: 0n, limit: 0xffff_ffff, selector: 8, attributes: 0xa09b };
    const json = { base: "0x0", limit: "0xffffffff", selector: "0x8", attributes: "0xa09b" };
    assert.deepEqual(registerToJSON({ name: "cs", value: cs }), json);
  });

  it("of a LoadInfo has hex strings for addresses, numbers for bytes", () => {
    const { info } = loadLinuxSync(options({ initrd: noise(1) }));
    const parsed: unknown = JSON.parse(JSON.stringify(info));
    assert.deepEqual(parsed, {
      kernel: {
        gpa: `0x${info.kernel.gpa.toString(16)}`,
        size: Number(info.kernel.size),
        entrypoint: `0x${info.kernel.entrypoint.toString(16)}`,
      },
      initrd: { gpa: `0x${info.initrd?.gpa.toString(16)}`, size: 1 },
      dtb: null,
    });
  });

  it("of a guest is there: results that hold bigint have a toJSON (DESIGN §3)", () => {
    const guest = loadLinuxSync(options());
    assert.ok(JSON.stringify(guest).includes(`0x${guest.info.kernel.entrypoint.toString(16)}`));
  });
});
