/** A memory that grows, is handed on or is resized while a load waits: the load ends with a typed error, or is right. */
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { DirectBootError } from "../../src/base/errors.js";
import { loadLinux } from "../../src/linux/load-linux.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { applyPlan } from "../../src/plan/apply.js";
import { PlanBuilder } from "../../src/plan/plan.js";
import { BlobSource } from "../../src/sources/blob.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { FileSource } from "../../src/sources/file.js";
import type { Source } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { concatSources, sliceSource, zeroExtend } from "../../src/sources/views.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeImage } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import { failureOf, isZero, MIB, PAGE, smallPlan } from "./support/guests.js";

const kernelBytes = noise(60_000, 3);
const initrdBytes = noise(9000, 4);
const folder = mkdtempSync(join(tmpdir(), "directboot-moves-"));
const file = join(folder, "kernel");
writeFileSync(file, kernelBytes);

/** Calls `act` at the nth turn that a load gives, from 0. */
function atTurn(n: number, act: () => void): { stop: () => void; happened: () => boolean } {
  let turn = 0;
  let isOver = false;
  let happened = false;
  const next = (): void => {
    if (isOver) return;
    if (turn++ === n) {
      happened = true;
      act();
      return;
    }
    setImmediate(next);
  };
  next();
  return {
    stop: () => {
      isOver = true;
    },
    happened: () => happened,
  };
}

/** Sources over the same bytes that wait in as many ways as there are. */
const SOURCES: Readonly<Record<string, (bytes: Uint8Array<ArrayBuffer>) => Source>> = {
  "a source of the caller's": (bytes) => asyncOnly(bytes),
  "a Blob": (bytes) => new BlobSource(new Blob([bytes])),
  "a stream": (bytes) => new StreamSource(makeStream(bytes).stream, { byteLength: bytes.byteLength }),
  "several in one": (bytes) =>
    concatSources([asyncOnly(bytes.subarray(0, 20_000)), asyncOnly(bytes.subarray(20_000))]),
  "a part of one": (bytes) => {
    const more = new Uint8Array(bytes.byteLength + 10);
    more.set(bytes, 5);
    return sliceSource(asyncOnly(more), 5, bytes.byteLength);
  },
  "one with zeros behind": (bytes) => zeroExtend(asyncOnly(bytes.subarray(0, 20_000)), bytes.byteLength),
  "one that grows the memory while it writes": (bytes) => asyncOnly(bytes),
};

describe("a WebAssembly.Memory that grows during the nth turn of a load", () => {
  for (const [name, make] of Object.entries(SOURCES)) {
    it(`which reads ${name}`, async () => {
      let refused = 0;
      for (let n = 0; ; n++) {
        const wasm = new WebAssembly.Memory({ initial: 16 });
        const memory = GuestMemory.attach(wasm);
        memory.write(0, noise(16 * 65536, 8));
        const kernel = make(kernelBytes);
        const plan = smallPlan(kernel, asyncOnly(initrdBytes));
        const turn = atTurn(n, () => wasm.grow(1));
        const failure = await failureOf(() => applyPlan(plan, memory));
        turn.stop();
        const after = new Uint8Array(wasm.buffer);
        if (failure === undefined) {
          const wanted = new Uint8Array(0x1_8000);
          wanted.set(kernelBytes.subarray(7, 7 + kernelBytes.byteLength), 0x123);
          if (name === "one with zeros behind") wanted.fill(0, 0x123 + 20_000 - 7);
          const end = 0x1_0123 + kernelBytes.byteLength - 7;
          assert.equal(
            Buffer.compare(after.subarray(0x1_0000, end), wanted.subarray(0, end - 0x1_0000)),
            0,
            `turn ${n}`,
          );
          assert.equal(Buffer.compare(after.subarray(0x2_8000, 0x2_8000 + 9000), initrdBytes), 0);
        } else {
          refused++;
          assert.equal(failure.code, "GUEST_MEMORY_DETACHED", failure.message);
          assert.match(failure.message, /every page that was written is zero again/);
          assert.ok(isZero(after.subarray(0x1_0000, 0x1_f000)) || n === 0, `turn ${n}`);
          assert.ok(isZero(after.subarray(0x1000, 0x2000)));
        }
        if (!turn.happened()) break;
        assert.ok(n < 500);
      }
      assert.ok(refused > 0);
    });
  }

  it("which reads a file on four threads", async () => {
    const large = join(folder, "large");
    const bytes = noise(9 * MIB, 5);
    writeFileSync(large, bytes);
    for (let n = 0; n < 12; n++) {
      const wasm = new WebAssembly.Memory({ initial: 256 });
      const memory = GuestMemory.attach(wasm);
      const source = new FileSource(large);
      const plan = new PlanBuilder<never>();
      plan.wholeSource(0x10_0000n, "kernel", source);
      const turn = atTurn(n, () => wasm.grow(1));
      const failure = await failureOf(() => applyPlan(plan, memory));
      turn.stop();
      source.close();
      const after = new Uint8Array(wasm.buffer).subarray(MIB, 10 * MIB);
      if (failure !== undefined) {
        refusal("GUEST_MEMORY_DETACHED", "zero again")(failure);
        assert.ok(isZero(after));
      } else assert.equal(Buffer.compare(after, bytes), 0);
    }
  });

  it("into which a kernel is decompressed", async () => {
    const [image, deviceTree] = [makeImage(5 * MIB), memoryTree(16 * MIB)];
    for (const method of ONE_OF_EACH) {
      const kernel = compress(method, image);
      let refused = 0;
      for (let n = 0; n < 12; n++) {
        const layout = new MemoryLayout([{ start: 0x4000_0000n, end: 0x4100_0000n }]);
        const memory = GuestMemory.create(layout);
        const wasm = memory.place(0x4000_0000n, 1)?.memory;
        assert.ok(wasm !== undefined);
        const turn = atTurn(n, () => wasm.grow(1));
        const failure = await failureOf(() => loadLinux({ kernel, deviceTree, memory }));
        turn.stop();
        if (failure === undefined) {
          assert.equal(Buffer.compare(memory.read(0x4020_0000n, 5 * MIB), image), 0);
        } else {
          refused++;
          refusal("GUEST_MEMORY_DETACHED", "zero again")(failure);
          assert.ok(isZero(memory.read(0x4000_0000n, 16 * MIB)));
          assert.ok(isZero(new Uint8Array(wasm.buffer)), "scratch");
        }
      }
      // These two are made elsewhere, and copied in one go.
      assert.ok(refused > 0 || method.format === "bzip2" || method.format === "lzo", method.format);
    }
  });

  it("is right if the memory is shared: its bytes stay where they are", async () => {
    for (let n = 0; n < 30; n++) {
      const wasm = new WebAssembly.Memory({ initial: 16, maximum: 64, shared: true });
      const memory = GuestMemory.attach(wasm);
      const turn = atTurn(n, () => wasm.grow(1));
      await applyPlan(smallPlan(asyncOnly(kernelBytes), asyncOnly(initrdBytes)), memory);
      turn.stop();
      assert.equal(Buffer.compare(memory.read(0x2_8000, 9000), initrdBytes), 0);
      assert.equal(Buffer.compare(memory.read(0x1_0123, 59_993), kernelBytes.subarray(7)), 0);
    }
  });
});

/** Ways in which a buffer of the caller's goes away. */
const WAYS: Readonly<Record<string, (buffer: ArrayBuffer) => void>> = {
  "is handed to another thread": (buffer) => void structuredClone(buffer, { transfer: [buffer] }),
  "becomes smaller": (buffer) => {
    const resize: unknown = Reflect.get(buffer, "resize");
    assert.ok(typeof resize === "function");
    resize.call(buffer, PAGE);
  },
};

/** An ArrayBuffer that can be resized; the platform's types know no such option yet. */
function resizable(byteLength: number): ArrayBuffer {
  const made: unknown = Reflect.construct(ArrayBuffer, [byteLength, { maxByteLength: 2 * byteLength }]);
  assert.ok(made instanceof ArrayBuffer);
  return made;
}

describe("an ArrayBuffer that goes away during the nth turn of a load", () => {
  for (const [way, remove] of Object.entries(WAYS)) {
    for (const [name, make] of Object.entries(SOURCES)) {
      it(`because it ${way}, while ${name} is read`, async () => {
        let happened = true;
        for (let n = 0; happened; n++) {
          const buffer = resizable(MIB);
          const memory = GuestMemory.attach(buffer);
          const plan = smallPlan(make(kernelBytes), asyncOnly(initrdBytes));
          let isOver = false;
          const turn = atTurn(n, () => {
            if (!isOver) remove(buffer);
          });
          const failure = await failureOf(() =>
            applyPlan(plan, memory).then(() => {
              isOver = true;
            }),
          );
          turn.stop();
          happened = turn.happened();
          if (happened && !isOver) {
            assert.ok(failure !== undefined, `turn ${n}`);
            assert.equal(failure.code, "GUEST_MEMORY_DETACHED", failure.message);
            if (n > 0)
              assert.match(failure.message, /not every page that was written is zero again|bytes left/);
          }
        }
      });
    }
  }

  it("says so also if it is another than the one that is written at the time, and zeros the others", async () => {
    // 5 GiB of RAM in buffers of 1 GiB each, of which three are touched.
    const make = (): {
      memory: GuestMemory;
      plan: PlanBuilder<never>;
      letGo: () => void;
      reading: Promise<void>;
    } => {
      const memory = GuestMemory.create(new MemoryLayout([{ start: 0n, end: 5n << 30n }]));
      let letGo = (): void => {};
      const gate = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      let began = (): void => {};
      const reading = new Promise<void>((resolve) => {
        began = resolve;
      });
      const source: Source = {
        name: "held",
        byteLength: 3 * PAGE,
        read: async (target) => {
          began();
          await gate;
          target.fill(0x77);
        },
      };
      const plan = new PlanBuilder<never>();
      plan.bytes(0x1000n, "first", noise(PAGE));
      // In the second buffer and the third.
      plan.wholeSource((2n << 30n) - 4096n, "across", source);
      return { memory, plan, letGo, reading };
    };
    for (const gone of [0, 1, 2]) {
      const { memory, plan, letGo, reading } = make();
      const buffers = memory.banks.slice(0, 3).map(({ buffer }) => buffer);
      const loading = failureOf(() => applyPlan(plan, memory));
      await reading;
      const buffer = buffers[gone];
      assert.ok(buffer instanceof ArrayBuffer);
      structuredClone(buffer, { transfer: [buffer] });
      letGo();
      const failure: DirectBootError | undefined = await loading;
      assert.ok(failure !== undefined, `buffer ${gone}`);
      refusal("GUEST_MEMORY_DETACHED", "not every page that was written is zero again")(failure);
      for (const [index, each] of buffers.entries()) {
        if (index === gone) continue;
        const page = index === 0 ? 0x1000 : index === 1 ? (1 << 30) - PAGE : 0;
        assert.ok(
          new Uint8Array(each, page, PAGE).every((byte) => byte === 0),
          `${gone}: ${index}`,
        );
      }
    }
  });
});

describe("input that goes away while it is read", () => {
  it("is SOURCE_READ, plain or compressed, and memory is zero again", async () => {
    const [image, deviceTree] = [makeImage(5 * MIB), memoryTree(16 * MIB)];
    for (const method of ONE_OF_EACH) {
      for (const decompressInto of ["memory", "buffer"] as const) {
        for (const n of [1, 2, 3, 5]) {
          const kernel = Uint8Array.from(compress(method, image));
          const layout = new MemoryLayout([{ start: 0x4000_0000n, end: 0x4100_0000n }]);
          const memory = GuestMemory.create(layout);
          const turn = atTurn(n, () => void structuredClone(kernel.buffer, { transfer: [kernel.buffer] }));
          const failure = await failureOf(() => loadLinux({ kernel, deviceTree, memory, decompressInto }));
          turn.stop();
          if (failure === undefined) {
            assert.equal(Buffer.compare(memory.read(0x4020_0000n, 5 * MIB), image), 0);
            continue;
          }
          assert.match(failure.code, /^(SOURCE_READ|DECOMPRESS_.*)$/, failure.message);
          assert.ok(isZero(memory.read(0x4000_0000n, 16 * MIB)));
        }
      }
    }
  });

  it("as bytes of an initrd", async () => {
    const initrd = noise(3 * MIB, 4);
    const memory = GuestMemory.create(16 * MIB);
    const plan = new PlanBuilder<never>();
    plan.wholeSource(0x10_0000n, "kernel", asyncOnly(noise(PAGE)));
    plan.wholeSource(0x20_0000n, "initrd", new BytesSource(initrd));
    const loading = failureOf(() => applyPlan(plan, memory));
    structuredClone(initrd.buffer, { transfer: [initrd.buffer] });
    const failure = await loading;
    assert.ok(failure !== undefined);
    refusal("SOURCE_READ", "detached", "zero again")(failure);
    assert.ok(isZero(memory.read(0, 16 * MIB)));
  });
});
