/** Guest memories with something in them everywhere, and loads into them, for the tests of what a load promises. */
import assert from "node:assert/strict";
import { DirectBootError } from "../../../src/base/errors.js";
import type { X86Register } from "../../../src/importers/importer.js";
import { GuestMemory } from "../../../src/memory/guest-memory.js";
import { PlanBuilder } from "../../../src/plan/plan.js";
import type { Source } from "../../../src/sources/source.js";
import { noise } from "../../support/sources.js";

export const PAGE = 4096;
export const MIB = 1 << 20;

/** RAM full of noise, flat or in several buffers, and what is in it. */
export interface NoisyMemory {
  readonly memory: GuestMemory;
  /** All of RAM. */
  readonly read: () => Uint8Array;
  readonly before: Uint8Array;
}

/** RAM of the caller's, from address 0, full of noise. */
export function noisyMemory(byteLength: number): NoisyMemory {
  const bytes = noise(byteLength, 77);
  const memory = GuestMemory.attach(bytes.buffer);
  return { memory, read: () => bytes.slice(), before: bytes.slice() };
}

/** The same in a WebAssembly.Memory with two banks in the wrong order, and room before, between and behind. */
export function noisyBanks(byteLength: number): NoisyMemory {
  const half = Math.ceil(byteLength / 2 / PAGE) * PAGE;
  const wasm = new WebAssembly.Memory({ initial: Math.ceil((2 * half + 5 * PAGE) / 65536) });
  const all = new Uint8Array(wasm.buffer);
  all.set(noise(all.byteLength, 78));
  const memory = GuestMemory.attach(wasm, [
    { guestPhysicalAddress: 0, byteOffset: half + 3 * PAGE, byteLength: half },
    { guestPhysicalAddress: half, byteOffset: PAGE, byteLength: half },
  ]);
  return { memory, read: () => new Uint8Array(wasm.buffer).slice(), before: all.slice() };
}

/** A plan of bytes, two sources' regions, at any alignment, and registers, within 256 KiB of RAM. */
export function smallPlan(kernel: Source, initrd: Source): PlanBuilder<X86Register> {
  const builder = new PlanBuilder<X86Register>();
  builder.bytes(0x1000n, "bytes", noise(100));
  builder.register({ name: "cr3", value: 0x4000n });
  builder.fileRegion({
    source: kernel,
    acceptance: "Exclusive",
    tag: "kernel",
    fileOffset: 7n,
    fileLength: BigInt(kernel.byteLength - 7),
    gpa: 0x1_0123n,
    memoryLength: BigInt(kernel.byteLength + 2 * PAGE),
  });
  builder.wholeSource(0x2_8000n, "initrd", initrd);
  builder.bytes(0x3000n, "more bytes", noise(5000));
  return builder;
}

/** The bytes of `after` that are neither as before nor zero, of the pages that the plan touches; and all of what it does not. */
export function checkTakenBack(after: Uint8Array, before: Uint8Array, what: string): void {
  assert.equal(after.byteLength, before.byteLength, what);
  for (let page = 0; page < after.byteLength; page += PAGE) {
    const now = after.subarray(page, page + PAGE);
    const isSame = Buffer.compare(now, before.subarray(page, page + PAGE)) === 0;
    if (!isSame && now.some((byte) => byte !== 0)) {
      assert.fail(`${what}: the page at 0x${page.toString(16)} is neither zero nor as it was`);
    }
  }
}

/** The error that `act` throws or rejects with; undefined if it does neither. Anything but our errors fails. */
export async function failureOf(act: () => unknown): Promise<DirectBootError | undefined> {
  try {
    await act();
    return undefined;
  } catch (cause) {
    assert.ok(cause instanceof DirectBootError, `not a DirectBootError: ${cause}`);
    return cause;
  }
}

const ZEROS = new Uint8Array(MIB);

/** True if all bytes are zero: fast, for much of them. */
export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.byteLength; at += MIB) {
    const piece = bytes.subarray(at, at + MIB);
    if (Buffer.compare(piece, ZEROS.subarray(0, piece.byteLength)) !== 0) return false;
  }
  return true;
}
