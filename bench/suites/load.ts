import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { GuestMemory, GuestMemoryImporter, loadLinux, loadLinuxSync } from "../../src/index.js";
import { type LoadX86Options, loadX86 } from "../../src/loader.js";
import { compileFloor } from "../floor.js";
import { type Case, type Contender, measureCases, type Suite } from "../harness.js";
import { Image, KERNEL_ADDRESS, KIB, MIB, SEGMENT_OFFSET } from "../image.js";

const KERNEL_BYTES = 60 * MIB;
const RAM_BYTES = 128 * MIB;
const BOUNCE_BYTES = 64 * KIB;
const LOAD_X86 = "directboot, loadX86";
/** One run a round: more rounds than elsewhere. */
const ROUNDS = 21;

/** New guest RAM. */
export function freshRam(byteLength: number): Uint8Array {
  return new Uint8Array(new WebAssembly.Memory({ initial: byteLength / 65536 }).buffer);
}

/** The usual way. */
export function readFileAndSet(path: string, ram: Uint8Array): void {
  ram.set(readFileSync(path).subarray(SEGMENT_OFFSET), KERNEL_ADDRESS);
}

/** The way of OpenVMM's ChunkBuf. */
export function bounce(path: string, byteLength: number, ram: Uint8Array): void {
  const file = openSync(path, "r");
  const buffer = new Uint8Array(BOUNCE_BYTES);
  for (let done = 0; done < byteLength; done += BOUNCE_BYTES) {
    readSync(file, buffer, 0, BOUNCE_BYTES, SEGMENT_OFFSET + done);
    ram.set(buffer, KERNEL_ADDRESS + done);
  }
  closeSync(file);
}

/** The low-memory map of loadX86's documentation. */
function loadX86Options(kernel: string, memory: GuestMemory): LoadX86Options {
  return {
    kernel,
    kernelMinimumStartAddress: MIB,
    initrd: null,
    commandLine: { address: 0x3000, commandLine: "console=ttyS0" },
    zeroPage: {
      address: 0x2000,
      memoryLayout: memory.layout,
      acpiBaseAddress: 0xe0000,
      acpiLength: 0x2000,
    },
    acpi: {
      rdspAddress: 0xe0000,
      rdsp: new Uint8Array(36),
      tablesAddress: 0xe1000,
      tables: new Uint8Array(4096),
    },
    registers: { gdtAddress: 0x1000, pageTableAddress: 0x4000 },
  };
}

export function loadSuite(): Suite {
  const notes: string[] = [];
  return {
    name: "load",
    about: "60 MiB ELF in the page cache, file to guest memory",
    ours: [
      LOAD_X86,
      "directboot, loadLinuxSync",
      "directboot, loadLinux",
      "directboot, create and loadX86",
      "directboot, create and loadLinuxSync",
      "directboot, create and loadLinux",
      "directboot, loadX86, warm",
      "directboot, reset and loadX86, warm",
    ],
    notes,
    async measure({ quick }) {
      notes.length = 0;
      const floor = compileFloor(notes);
      const image = new Image();
      try {
        image.grow(KERNEL_BYTES);
        const { path } = image;
        const inC = (mode: "fresh" | "warm" | "zero+warm"): Contender | undefined =>
          floor === undefined
            ? undefined
            : { nanoseconds: () => floor(mode, path, SEGMENT_OFFSET, KERNEL_BYTES) };
        const load = (memory: GuestMemory): void => {
          loadX86(new GuestMemoryImporter(memory), loadX86Options(path, memory));
        };
        // The guest's memory was made before, and not touched yet: for C by mmap, for the others as a
        // WebAssembly.Memory. Making one is a matter of the engine: the cases with "create" time it, too.
        let memory = GuestMemory.create(RAM_BYTES);
        let ram = freshRam(RAM_BYTES);
        const newMemory = (): void => {
          memory = GuestMemory.create(RAM_BYTES);
        };
        const newRam = (): void => {
          ram = freshRam(RAM_BYTES);
        };
        const warm = GuestMemory.create(RAM_BYTES);
        load(warm);
        const cases: Case[] = [
          {
            size: "60 MiB",
            byteLength: KERNEL_BYTES,
            contenders: defined({
              [LOAD_X86]: { before: newMemory, run: () => load(memory) },
              "directboot, loadLinuxSync": {
                before: newMemory,
                run: () => loadLinuxSync({ kernel: path, memory }),
              },
              "directboot, loadLinux": {
                before: newMemory,
                runAsync: () => loadLinux({ kernel: path, memory }),
              },
              "C floor": inC("fresh"),
              "readSync, one call": {
                before: newRam,
                run: () => {
                  const file = openSync(path, "r");
                  readSync(file, ram, KERNEL_ADDRESS, KERNEL_BYTES, SEGMENT_OFFSET);
                  closeSync(file);
                },
              },
              "readFileSync, then set": { before: newRam, run: () => readFileAndSet(path, ram) },
              "64 KiB bounce, then set": { before: newRam, run: () => bounce(path, KERNEL_BYTES, ram) },
            }),
          },
          {
            size: "60 MiB",
            byteLength: KERNEL_BYTES,
            contenders: defined({
              "directboot, create and loadX86": () => load(GuestMemory.create(RAM_BYTES)),
              "directboot, create and loadLinuxSync": () =>
                loadLinuxSync({ kernel: path, memory: RAM_BYTES }),
              "directboot, create and loadLinux": {
                runAsync: () => loadLinux({ kernel: path, memory: RAM_BYTES }),
              },
              "C floor": inC("fresh"),
              "create, readFileSync, then set": () => readFileAndSet(path, freshRam(RAM_BYTES)),
            }),
          },
          {
            size: "60 MiB",
            byteLength: KERNEL_BYTES,
            contenders: defined({
              "directboot, loadX86, warm": { before: () => warm.reset(), run: () => load(warm) },
              "C floor, warm": inC("warm"),
            }),
          },
          {
            size: "60 MiB",
            byteLength: KERNEL_BYTES,
            contenders: defined({
              "directboot, reset and loadX86, warm": () => {
                warm.reset();
                load(warm);
              },
              "C floor, memset and warm": inC("zero+warm"),
            }),
          },
        ];
        return await measureCases(cases, { rounds: quick ? 3 : ROUNDS, milliseconds: 0, collects: true });
      } finally {
        image.close();
      }
    },
  };
}

/** Without what can't be measured here. */
function defined(contenders: Readonly<Record<string, Contender | undefined>>): Record<string, Contender> {
  return Object.fromEntries(
    Object.entries(contenders).flatMap(([name, contender]) =>
      contender === undefined ? [] : [[name, contender] as const],
    ),
  );
}
