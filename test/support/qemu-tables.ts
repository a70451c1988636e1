/** What QEMU and its firmware tell a guest: tables out of the memory of a machine that has just started. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** ACPI tables by signature, with the RSDP as "RSD PTR "; and the human monitor's `info pci`. */
export interface QemuTables {
  readonly tables: ReadonlyMap<string, Uint8Array>;
  readonly infoPci: string;
}

const MEMORY = 64 << 20;
const SEARCH_START = 0xe_0000;
const SEARCH_END = 0x10_0000;

function sum(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => (total + byte) & 255, 0);
}

const ascii = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** The tables in a dump of memory from 0, once firmware has put all of them in place. */
export function tablesIn(memory: Uint8Array): Map<string, Uint8Array> | undefined {
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const tables = new Map<string, Uint8Array>();
  const tableAt = (address: number): Uint8Array | undefined => {
    if (address < 0x1000 || address + 36 > memory.length) return undefined;
    const length = view.getUint32(address + 4, true);
    if (length < 36 || address + length > memory.length) return undefined;
    const bytes = memory.subarray(address, address + length);
    return ascii(bytes.subarray(0, 4)) === "FACS" || sum(bytes) === 0 ? bytes : undefined;
  };
  for (let at = SEARCH_START; at < SEARCH_END; at += 16) {
    if (ascii(memory.subarray(at, at + 8)) !== "RSD PTR " || sum(memory.subarray(at, at + 20)) !== 0)
      continue;
    const isLong = view.getUint8(at + 15) >= 2;
    tables.set("RSD PTR ", memory.subarray(at, at + (isLong ? 36 : 20)));
    const root = tableAt(isLong ? Number(view.getBigUint64(at + 24, true)) : view.getUint32(at + 16, true));
    if (root === undefined) continue;
    const addresses: number[] = [];
    for (let offset = 36; offset < root.length; offset += isLong ? 8 : 4) {
      addresses.push(new DataView(root.buffer, root.byteOffset).getUint32(offset, true));
    }
    for (const address of addresses) {
      const bytes = tableAt(address);
      if (bytes === undefined) return undefined;
      tables.set(ascii(bytes.subarray(0, 4)), bytes);
    }
    const fadt = tables.get("FACP");
    if (fadt === undefined) return undefined;
    const fields = new DataView(fadt.buffer, fadt.byteOffset);
    const dsdt = tableAt(fields.getUint32(40, true));
    if (dsdt === undefined) return undefined;
    return tables.set("DSDT", dsdt);
  }
  return undefined;
}

/** Starts QEMU with its own firmware, and takes the tables out of its memory. */
export async function qemuTables(folder: string, args: readonly string[]): Promise<QemuTables> {
  const program = spawn(
    "qemu-system-x86_64",
    [
      ...args,
      "-m",
      "64M",
      "-accel",
      "tcg",
      "-cpu",
      "max",
      "-nodefaults",
      "-display",
      "none",
      "-qmp",
      "stdio",
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const ended = once(program, "close");
  try {
    await once(program, "spawn");
    const replies = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
    const command = async (execute: string, values: object = {}): Promise<unknown> => {
      program.stdin.write(`${JSON.stringify({ execute, arguments: values })}\n`);
      for (;;) {
        const { value, done } = await replies.next();
        if (done === true) throw new Error(`QEMU ended: ${args.join(" ")}`);
        const reply = JSON.parse(value) as { return?: unknown; error?: { desc: string } };
        if (reply.error !== undefined) throw new Error(reply.error.desc);
        if ("return" in reply) return reply.return;
      }
    };
    await command("qmp_capabilities");
    const file = join(folder, "memory.bin");
    for (let attempt = 0; attempt < 100; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await command("pmemsave", { val: 0, size: MEMORY, filename: file });
      const tables = tablesIn(readFileSync(file));
      if (tables === undefined) continue;
      const infoPci = String(await command("human-monitor-command", { "command-line": "info pci" }));
      return { tables, infoPci };
    }
    throw new Error(`no tables after 30 s: ${args.join(" ")}`);
  } finally {
    program.kill("SIGKILL");
    await ended;
  }
}
