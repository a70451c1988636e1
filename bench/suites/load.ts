import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadLinuxSync } from "../../src/index.js";
import type { Suite } from "./suite.js";

const MIB = 1 << 20;
const KERNEL_BYTES = 60 * MIB;
const KERNEL_ADDRESS = 16 * MIB;
const RAM_BYTES = 128 * MIB;
const BOUNCE_BYTES = 65536;

/** An ELF64 with one PT_LOAD of `byteLength` bytes. */
function elfOf(byteLength: number): Uint8Array {
  const header = 4096;
  const elf = new Uint8Array(header + byteLength).fill(0x5a, header);
  const view = new DataView(elf.buffer);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(24, BigInt(KERNEL_ADDRESS), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  for (const [offset, value] of [
    [72, header],
    [80, KERNEL_ADDRESS],
    [88, KERNEL_ADDRESS],
    [96, byteLength],
    [104, byteLength],
  ] as const) {
    view.setBigUint64(offset, BigInt(value), true);
  }
  return elf;
}

export function loadSuite(): Suite {
  const folder = mkdtempSync(join(tmpdir(), "directboot-bench-"));
  const path = join(folder, "vmlinux");
  writeFileSync(path, elfOf(KERNEL_BYTES));
  const fresh = (): Uint8Array =>
    new Uint8Array(new WebAssembly.Memory({ initial: RAM_BYTES / 65536 }).buffer);
  return {
    name: "load",
    about: "60 MiB ELF, file to fresh guest memory",
    ours: "directboot, loadLinuxSync",
    millisecondsARound: 60,
    cases: [
      {
        size: "60 MiB",
        byteLength: KERNEL_BYTES,
        contenders: {
          "directboot, loadLinuxSync": () => loadLinuxSync({ kernel: path, memory: RAM_BYTES }),
          "readSync into fresh memory": () => {
            const file = openSync(path, "r");
            readSync(file, fresh(), KERNEL_ADDRESS, KERNEL_BYTES, 4096);
            closeSync(file);
          },
          "readFileSync, then set": () => {
            fresh().set(readFileSync(path).subarray(4096), KERNEL_ADDRESS);
          },
          "64 KiB bounce, then set": () => {
            const file = openSync(path, "r");
            const bounce = new Uint8Array(BOUNCE_BYTES);
            const memory = fresh();
            for (let done = 0; done < KERNEL_BYTES; done += BOUNCE_BYTES) {
              readSync(file, bounce, 0, BOUNCE_BYTES, 4096 + done);
              memory.set(bounce, KERNEL_ADDRESS + done);
            }
            closeSync(file);
          },
        },
      },
    ],
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}
