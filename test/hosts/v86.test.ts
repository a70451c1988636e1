/** v86 itself takes pages and registers; small kernels made here, in the emulator that is known. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it, type TestContext } from "node:test";
import type { V86 } from "v86";
import { bootV86, loadV86, V86_VERSION, type V86Emulator, v86Memory } from "../../src/hosts/v86.js";
import { makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { inRoot } from "../support/paths.js";
import { refusal } from "../support/refusal.js";
import { makeV86, serialUntil } from "../support/v86.js";

const ENTRY = 0x10_0000n;

// Uses what a kernel relies on: the GDT's entries behind the selectors, ESI, flat 32-bit segments.
const CODE = Uint8Array.from([
  ...[0x66, 0xb8, 0x18, 0x00], // mov ax, __BOOT_DS
  ...[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // mov ds, ax; mov es, ax; mov ss, ax
  ...[0x66, 0xb8, 0x20, 0x00, 0x0f, 0x00, 0xd8], // mov ax, __BOOT_TSS; ltr ax
  ...[0xea, 0x18, 0x00, 0x10, 0x00, 0x10, 0x00], // jmp __BOOT_CS:0x100018
  ...[0xbc, 0x00, 0x00, 0x20, 0x00], // mov esp, 0x200000
  ...[0x56, 0x5e], // push esi; pop esi
  ...[0x66, 0xba, 0xf8, 0x03], // mov dx, 0x3f8
  ...[0x8b, 0x86, 0x02, 0x02, 0x00, 0x00], // mov eax, [esi + 0x202], "HdrS"
  0xee, // out dx, al
  ...[0xc1, 0xe8, 0x08, 0xee, 0xc1, 0xe8, 0x08, 0xee, 0xc1, 0xe8, 0x08, 0xee], // the other three letters
  ...[0xf4, 0xeb, 0xfd], // hlt, for ever
]);

function kernel(code = CODE): Uint8Array<ArrayBuffer> {
  const fill = new Uint8Array(0x1000 + code.byteLength);
  fill.set(code, 0x1000);
  const size = BigInt(code.byteLength);
  return makeElf32({
    entry: ENTRY,
    fill,
    segments: [
      { type: 1, offset: 0x1000n, vaddr: ENTRY, paddr: ENTRY, filesz: size, memsz: size + 64n, flags: 5 },
    ],
  });
}

function machine(context: TestContext): V86 {
  const emulator = makeV86();
  context.after(() => emulator.destroy());
  return emulator;
}

/** The same, loaded. */
async function loadedMachine(context: TestContext): Promise<V86> {
  const emulator = machine(context);
  await new Promise<void>((resolve) => emulator.add_listener("emulator-loaded", () => resolve()));
  return emulator;
}

/** All that a load of a small kernel could write to. */
function lowMemory(emulator: V86): Uint8Array {
  return v86Memory(emulator).read(0, 2 << 20);
}

/** Looks into v86's internals. */
function cpuOf(emulator: V86): Record<string, Record<number, number>> {
  const { v86 } = emulator as unknown as { v86: { cpu: Record<string, Record<number, number>> } };
  return v86.cpu;
}

/** The same emulator whose processor has something else in one field. */
function withField(emulator: V86, field: string, value: unknown): V86Emulator {
  const cpu = new Proxy(cpuOf(emulator), {
    get: (target, name) => (name === field ? value : Reflect.get(target, name)),
  });
  return {
    v86: { cpu },
    add_listener: () => {},
    remove_listener: () => {},
    is_running: () => false,
    run: () => {},
  };
}

describe("a guest of v86", () => {
  it("is the version that package.json pins", () => {
    const { devDependencies } = JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
    assert.equal(devDependencies.v86, V86_VERSION);
  });

  it("starts at the kernel's entry in protected mode, with the plan's segments, GDT and boot_params", async (t) => {
    const emulator = machine(t);
    const serial = serialUntil(emulator, "HdrS", 30_000);
    await bootV86(emulator, { kernel: kernel() });
    assert.equal(await serial, "HdrS");
    await emulator.stop();
  });

  it("has the plan's registers before it runs, and every other one zero", async (t) => {
    const emulator = machine(t);
    const { registers, regions, memory } = await loadV86(emulator, {
      kernel: kernel(),
      commandLine: "quiet",
    });
    const cpu = cpuOf(emulator);
    const values = (name: string, count: number): (number | undefined)[] =>
      Array.from({ length: count }, (_, i) => cpu[name]?.[i]);
    const { gdtr, cs, ds, tr } = registers;
    assert.ok(gdtr !== undefined && cs !== undefined && ds !== undefined && tr !== undefined);
    assert.deepEqual(values("reg32", 8), [0, 0, 0, 0, 0, 0, Number(registers.rsi), 0]);
    assert.deepEqual(values("instruction_pointer", 1), [Number(ENTRY)]);
    assert.deepEqual(values("cr", 5), [Number(registers.cr0), 0, 0, 0, 0]);
    assert.deepEqual(values("flags", 1), [Number(registers.rflags)]);
    assert.deepEqual([values("gdtr_offset", 1), values("gdtr_size", 1)], [[Number(gdtr.base)], [gdtr.limit]]);
    const d = ds.selector;
    assert.deepEqual(values("sreg", 7), [d, cs.selector, d, d, d, d, tr.selector]);
    assert.deepEqual(values("segment_limits", 7), [...Array(6).fill(0xffff_ffff), tr.limit]);
    assert.deepEqual(values("segment_access_bytes", 7), [0x93, 0x9b, 0x93, 0x93, 0x93, 0x93, 0x8b]);
    assert.deepEqual(
      [values("is_32", 1), values("stack_size_32", 1), values("protected_mode", 1)],
      [[1], [1], [1]],
    );
    assert.deepEqual(values("cpl", 1), [0]);

    // v86 reads what was put there.
    const code = emulator.read_memory(Number(ENTRY), CODE.byteLength);
    assert.deepEqual(Uint8Array.from(code), CODE);
    assert.equal(memory.ramSize, 64n << 20n);
    assert.ok(regions.some(({ tag }) => tag === "linux-gdt32"));
    assert.deepEqual(Uint8Array.from(v86Memory(emulator).read(ENTRY, CODE.byteLength)), CODE);
  });

  it("takes the same once the machine is loaded already, and leaves the caller's buffers as they are", async (t) => {
    const emulator = await loadedMachine(t);
    const bytes = kernel();
    const before = bytes.slice();
    const guest = await loadV86(emulator, { kernel: bytes, initrd: bytes });
    assert.deepEqual(bytes, before);
    assert.equal(guest.registers.rip, ENTRY);
  });
});

describe("what v86 can't start", () => {
  it("is refused: a kernel for another processor, before anything is written", async (t) => {
    const emulator = await loadedMachine(t);
    const before = lowMemory(emulator);
    const segments = [{ type: 1, offset: 0x1000n, vaddr: ENTRY, paddr: ENTRY, filesz: 64n, memsz: 64n }];
    const elf64 = makeElf({ entry: ENTRY, fill: new Uint8Array(0x2000).fill(0x90), segments });
    await assert.rejects(
      loadV86(emulator, { kernel: elf64 }),
      refusal("V86_UNSUPPORTED", "x86_64", "long64"),
    );
    assert.deepEqual(lowMemory(emulator), before);
  });

  it("is refused: a machine that runs", async (t) => {
    const emulator = machine(t);
    await bootV86(emulator, { kernel: kernel() });
    await assert.rejects(loadV86(emulator, { kernel: kernel() }), refusal("V86_RUNNING", "autostart: false"));
    await emulator.stop();
  });

  it("is refused: an emulator with other internals, by the name of the field and the version that is known", async (t) => {
    const emulator = await loadedMachine(t);
    const before = lowMemory(emulator);
    for (const [field, value] of [
      ["reg32", new Int32Array(4)],
      ["gdtr_size", undefined],
      ["segment_access_bytes", 5],
      ["update_state_flags", undefined],
      ["wasm_memory", { buffer: new ArrayBuffer(8) }],
      ["mem8", new Uint8Array(16)],
      ["memory_size", undefined],
    ] as const) {
      const other = withField(emulator, field, value);
      await assert.rejects(
        loadV86(other, { kernel: kernel() }),
        refusal("V86_INTERNALS", field, V86_VERSION),
      );
    }
    assert.deepEqual(lowMemory(emulator), before);
  });

  it("is refused: an emulator without a processor, what is no emulator, and a memory of the caller's", async (t) => {
    const none: V86Emulator = {
      v86: {},
      add_listener: () => {},
      remove_listener: () => {},
      is_running: () => false,
      run: () => {},
    };
    await assert.rejects(loadV86(none, { kernel: kernel() }), refusal("V86_INTERNALS", "emulator.v86.cpu"));
    assert.throws(() => v86Memory({ ...none, v86: undefined }), refusal("V86_INTERNALS"));
    await assert.rejects(loadV86({} as unknown as V86Emulator, { kernel: kernel() }), TypeError);
    const options = { kernel: kernel(), memory: 1 << 20 };
    await assert.rejects(loadV86(await loadedMachine(t), options), /TypeError: memory is the emulator's/);
  });

  it("ends the wait for the machine: a file that v86 can't load, and a signal", async () => {
    const listeners = new Map<string, (value: unknown) => void>();
    const waiting: V86Emulator = {
      add_listener: (event, listener) => void listeners.set(event, listener),
      remove_listener: (event) => void listeners.delete(event),
      is_running: () => false,
      run: () => {},
    };
    const failing = loadV86(waiting, { kernel: kernel() });
    listeners.get("download-error")?.({ file_name: "v86.wasm" });
    await assert.rejects(failing, refusal("V86_DOWNLOAD", "v86.wasm"));
    const abort = new AbortController();
    const aborted = loadV86(waiting, { kernel: kernel(), signal: abort.signal });
    abort.abort();
    await assert.rejects(aborted, refusal("ABORTED"));
    await assert.rejects(loadV86(waiting, { kernel: kernel(), signal: abort.signal }), refusal("ABORTED"));
    assert.equal(listeners.size, 0);
  });
});
