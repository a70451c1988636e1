/**
 * Guests in QEMU, from nothing but their pages and registers: those that the command `boot` loads, and those that a
 * test has loaded itself, which go the command's own way from there on.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestFiles } from "../../../src/hosts/qemu/guest-files.js";
import { EMULATORS, machineArguments } from "../../../src/hosts/qemu/machines.js";
import type { LinuxGuest } from "../../../src/index.js";
import { directboot, runProgram } from "../../support/command.js";
import { inRoot } from "../../support/paths.js";
import { parseInitReport } from "./initramfs.js";
import { runQemu } from "./qemu.js";

/** A machine under load has needed ten times its usual time. */
const TIMEOUT_SECONDS = 240;

/** Command lines that end QEMU when init reboots or the kernel panics. */
export const X86_COMMAND_LINE = "console=ttyS0 reboot=t panic=-1";
export const ARM64_COMMAND_LINE = "console=ttyAMA0 panic=-1";

/** For a bzImage that is to start as it is, whoever else could have decompressed the kernel in it. */
export const BY_GUEST = { decompress: "guest" } as const;

/** The result of a guest that has reached its init's marker. */
export interface Booted {
  /** All that came from the serial port. */
  readonly serial: string;
  /** The command's account of what it loaded; empty without the command. */
  readonly told: string;
}

function checkMarker(serial: string): void {
  assert.ok(parseInitReport(serial)?.complete, `init did not reach its marker:\n${serial.slice(-4000)}`);
}

/** Runs `directboot boot` until the guest ends; fails unless its init has reached its marker. */
export async function bootByCommand(args: readonly string[]): Promise<Booted> {
  const { status, stdout, stderr } = await directboot(["boot", ...args, "--timeout", `${TIMEOUT_SECONDS}`], {
    timeoutMs: (TIMEOUT_SECONDS + 60) * 1000,
  });
  assert.equal(status, 0, stderr);
  checkMarker(stdout);
  return { serial: stdout, told: stderr };
}

/** Boots an export by the script that shares no code with directboot; fails unless init has reached its marker. */
export async function bootExport(out: string, ...args: readonly string[]): Promise<Booted> {
  const { status, stdout, stderr } = await runProgram(
    process.execPath,
    [inRoot("test/boot/independent-boot.mjs"), out, ...args, "--timeout", `${TIMEOUT_SECONDS}`],
    { timeoutMs: (TIMEOUT_SECONDS + 60) * 1000 },
  );
  assert.equal(status, 0, stderr);
  checkMarker(stdout);
  return { serial: stdout, told: stderr };
}

/** Runs a guest that was loaded; fails unless its init has reached its marker. RAM is one range; `args` go to QEMU. */
export async function bootLoaded(
  guest: LinuxGuest,
  { cpu, machine: name, args = [] }: { cpu?: string; machine?: string; args?: readonly string[] } = {},
): Promise<Booted> {
  const emulator = EMULATORS[guest.architecture];
  const folder = mkdtempSync(join(tmpdir(), "directboot-test-"));
  try {
    const machine = {
      ...emulator,
      machine: name ?? emulator.machines[0],
      cpu: cpu ?? emulator.cpu,
      ramSize: guest.layout.ramSize,
    };
    const files = guestFiles(guest).flatMap(({ name, pieces, argumentsFor }) => {
      const path = join(folder, name);
      writeFileSync(path, Buffer.concat(pieces));
      return argumentsFor(path);
    });
    const { serial, stderr, exitCode, timedOut } = await runQemu({
      program: machine.program,
      args: [...machineArguments(machine), ...args, ...files],
      timeoutMs: TIMEOUT_SECONDS * 1000,
    });
    assert.ok(!timedOut, serial);
    assert.equal(exitCode, 0, stderr);
    checkMarker(serial);
    return { serial, told: "" };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `start`, made `byteLength` bytes long by a parameter that the kernel does not look at; no two parts of it are alike. */
export function longCommandLine(start: string, byteLength: number): string {
  let line = `${start} directboot.fill=`;
  for (let word = 0; line.length < byteLength; word++) line += `${word}.`;
  return line.slice(0, byteLength - 1).concat("e");
}
