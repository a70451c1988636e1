/** CRC-32 on two threads over shared memory. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import { GuestMemory, MemoryLayout } from "../../src/index.js";
import { type HotPathExports, instantiate } from "../../src/wasm/instance.js";
import { BOARD, LEAST_FOR_PARALLEL } from "../../src/wasm/parallel.js";
import { runProgram } from "../support/command.js";
import { inRoot } from "../support/paths.js";
import { noise } from "../support/sources.js";

const MIB = 1 << 20;

describe("the lane of a worker", () => {
  it("has its board behind the scratch that the kernel works in", () => {
    const module = new WebAssembly.Module(readFileSync(inRoot("build/wasm/hot-paths.wasm")));
    const memory = new WebAssembly.Memory({ initial: 1 });
    const scratchBytes = instantiate<HotPathExports>(module, memory).crc32Prepare(0);
    assert.ok(scratchBytes <= BOARD, `${scratchBytes}`);
  });
});

describe("crc32Parallel", () => {
  const data = noise(12 * MIB, 7);

  it("gives zlib's CRC in shared memory, at any offset, length and seed", async () => {
    const memory = GuestMemory.create(16 * MIB, { shared: true });
    memory.write(5, data);
    for (const [address, length, seed] of [
      [5, 12 * MIB, 0],
      [6, LEAST_FOR_PARALLEL, 1],
      [77, LEAST_FOR_PARALLEL + 1, 0xffff_ffff],
      [4096, 9 * MIB + 63, 0x1234_5678],
    ] as const) {
      const expected = zlibCrc32(data.subarray(address - 5, address - 5 + length), seed);
      assert.equal(await memory.crc32Parallel(address, length, seed), expected, `${address} ${length}`);
    }
  });

  it("gives each of many calls at once its own result", async () => {
    const memory = GuestMemory.create(16 * MIB, { shared: true });
    memory.write(0, data);
    const calls = Array.from({ length: 8 }, (_, i) => memory.crc32Parallel(i * 1000, 5 * MIB + i));
    const expected = calls.map((_, i) => zlibCrc32(data.subarray(i * 1000, i * 1000 + 5 * MIB + i)));
    assert.deepEqual(await Promise.all(calls), expected);
  });

  it("goes on after its workers have left for want of work", { timeout: 30_000 }, async () => {
    const memory = GuestMemory.create(8 * MIB, { shared: true });
    memory.write(0, data.subarray(0, 8 * MIB));
    const expected = zlibCrc32(data.subarray(0, 8 * MIB));
    assert.equal(await memory.crc32Parallel(0, 8 * MIB), expected);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.equal(await memory.crc32Parallel(0, 8 * MIB), expected);
  });

  it("computes on this thread in memory that is not shared, is short, attached, or in several buffers", async () => {
    const plain = GuestMemory.create(16 * MIB);
    const attached = GuestMemory.attach(new SharedArrayBuffer(16 * MIB));
    const split = GuestMemory.create(
      new MemoryLayout([
        { start: 0, end: 6 * MIB },
        { start: 6 * MIB, end: 16 * MIB, vnode: 1 },
      ]),
      { shared: true },
    );
    for (const memory of [plain, attached, split]) {
      memory.write(0, data);
      assert.equal(await memory.crc32Parallel(0, 12 * MIB), zlibCrc32(data));
      assert.equal(await memory.crc32Parallel(1, 100), zlibCrc32(data.subarray(1, 101)));
    }
  });

  it("starts no thread in a page that is not cross-origin isolated: it could not be sent the memory", async () => {
    const threads = process.getBuiltinModule("node:worker_threads");
    const { Worker } = threads;
    let started = 0;
    const counting = new Proxy(Worker, {
      construct: (target, args) => {
        started++;
        return Reflect.construct(target, args);
      },
    });
    Reflect.set(threads, "Worker", counting);
    Reflect.set(globalThis, "crossOriginIsolated", false);
    try {
      const memory = GuestMemory.create(16 * MIB, { shared: true });
      memory.write(0, data);
      assert.equal(await memory.crc32Parallel(0, 12 * MIB), zlibCrc32(data));
      assert.equal(started, 0);
    } finally {
      Reflect.deleteProperty(globalThis, "crossOriginIsolated");
      Reflect.set(threads, "Worker", Worker);
    }
  });

  it("leaves guest RAM as it is", async () => {
    const memory = GuestMemory.create(8 * MIB, { shared: true });
    memory.write(0, data.subarray(0, 8 * MIB));
    await memory.crc32Parallel(0, 8 * MIB);
    assert.equal(Buffer.compare(memory.read(0, 8 * MIB), data.subarray(0, 8 * MIB)), 0);
  });

  it("lets the process end, at once, when its work is done", async () => {
    const script = `
      import { GuestMemory } from ${JSON.stringify(inRoot("build/src/index.js"))};
      const memory = GuestMemory.create(${8 * MIB}, { shared: true });
      console.log(await memory.crc32Parallel(0, ${8 * MIB}));
    `;
    const start = performance.now();
    const { status, stdout } = await runProgram(process.execPath, ["--input-type=module", "-e", script]);
    assert.equal(status, 0);
    assert.equal(stdout.trim(), `${zlibCrc32(new Uint8Array(8 * MIB))}`);
    assert.ok(performance.now() - start < 20_000);
  });

  it("rejects a range that is no RAM, and a seed that is no CRC", async () => {
    const memory = GuestMemory.create(8 * MIB, { shared: true });
    await assert.rejects(memory.crc32Parallel(MIB, 8 * MIB), /not all RAM/);
    await assert.rejects(memory.crc32Parallel(0, 8 * MIB, -1), TypeError);
  });
});
