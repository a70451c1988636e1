/**
 * Work is linear in the input: a header can't ask for more than its file has bytes and the guest has RAM. Counted in reads,
 * steps and bytes where that can be done; where not, four times the input may take at most twelve times as long.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as decoders from "../../src/decoders/index.js";
import { readDeviceTree } from "../../src/firmware/device-tree.js";
import { memoryOfTree } from "../../src/firmware/device-tree-memory.js";
import {
  DirectBootError,
  GuestMemory,
  GuestMemoryImporter,
  loadLinuxSync,
  MemoryLayout,
  planLinux,
  planLinuxSync,
  RecordingImporter,
  type SyncSource,
  setChosen,
} from "../../src/index.js";
import { loadStaticElf } from "../../src/loader.js";
import { StreamSource } from "../../src/sources/stream.js";
import { runSync } from "../../src/task/run.js";
import { buildE820Map } from "../../src/x86/e820.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { makeElf, type SegmentShape } from "../support/elf-maker.js";
import { makeImage, makeVmlinux } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { makeStream } from "../support/streams.js";

const MIB = 1 << 20;

/** Bytes that count how often and how much is read of them. */
function counting(bytes: Uint8Array): SyncSource & { reads: number; bytesRead: number } {
  const source = {
    name: "counting",
    byteLength: bytes.byteLength,
    reads: 0,
    bytesRead: 0,
    readSync(target: Uint8Array, offset: number): void {
      source.reads++;
      source.bytesRead += target.byteLength;
      target.set(bytes.subarray(offset, offset + target.byteLength));
    },
    async read(target: Uint8Array, offset: number): Promise<void> {
      source.readSync(target, offset);
    },
  };
  return source;
}

/** Runs `act`; whether it throws one of our errors is not what is asked here. */
function attempt(act: () => unknown): void {
  try {
    act();
  } catch (cause) {
    assert.ok(cause instanceof DirectBootError, `${cause}`);
  }
}

/** The lesser of two runs, in milliseconds. */
function time(act: () => unknown): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 2; i++) {
    const start = performance.now();
    attempt(act);
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

/** Four times as much takes sixteen times as long if it is quadratic. */
function checkLinear(what: string, n: number, make: (n: number) => () => unknown): void {
  const [small, large] = [make(n), make(4 * n)];
  const [first, second] = [time(small), time(large)];
  assert.ok(second < 12 * first + 100, `${what}: ${n} take ${first} ms, ${4 * n} take ${second} ms`);
  assert.ok(second < 20_000, `${what}: ${second} ms`);
}

describe("program headers", () => {
  const orders: Readonly<Record<string, (i: number, n: number) => number>> = {
    ascending: (i) => i,
    descending: (i, n) => n - 1 - i,
    "from both ends": (i, n) => (i % 2 === 0 ? i >> 1 : n - 1 - (i >> 1)),
  };
  for (const [name, order] of Object.entries(orders)) {
    it(`n segments apart, ${name}: loaded in linear time, each byte read once`, () => {
      checkLinear(name, 3000, (n) => {
        const segments: SegmentShape[] = Array.from({ length: n }, (_, i) => ({
          offset: 64n,
          paddr: 0x100_0000n + 8192n * BigInt(order(i, n)),
          filesz: 1n,
          memsz: 4096n,
        }));
        const kernel = makeElf({ entry: 0x100_0000n, segments });
        const memory = GuestMemory.create(1 << 30);
        return () => {
          const source = counting(kernel);
          loadLinuxSync({ kernel: source, memory });
          assert.ok(source.reads <= n + 20, `${source.reads} reads of ${n} segments`);
          // Twice are read: the headers, and where a multiboot header may lie.
          assert.ok(source.bytesRead <= kernel.byteLength + n + 2000 + 32_768, `${source.bytesRead}`);
        };
      });
    });
  }

  it("n segments that all overlap are refused without reading one", () => {
    for (const load of [
      (kernel: SyncSource) => loadLinuxSync({ kernel, memory: 64 * MIB }),
      (image: SyncSource) => loadStaticElf(new RecordingImporter(), { image }),
    ]) {
      const segments = Array.from({ length: 20_000 }, (_, i) => ({
        offset: 0n,
        paddr: 0x100_0000n + BigInt(i),
        filesz: 5000n,
        memsz: 5000n,
      }));
      const kernel = counting(makeElf({ entry: 0x100_0000n, segments, byteLength: 20_000 * 56 + 64 }));
      const start = performance.now();
      attempt(() => load(kernel));
      assert.ok(performance.now() - start < 10_000);
      // loadStaticElf takes them, as upstream does, one after the other: an importer may refuse. Ours does.
      if (kernel.reads > 10) assert.ok(kernel.bytesRead <= 20_000 * 5000 + kernel.byteLength + 2000);
    }
  });

  it("n segments that share pages are read piece by piece, each byte once", () => {
    for (const n of [1000, 4000]) {
      const segments = Array.from({ length: n }, (_, i) => ({
        offset: 64n + BigInt(i),
        paddr: 0x100_0000n + 16n * BigInt(i),
        filesz: 1n,
        memsz: 1n,
      }));
      const kernel = counting(makeElf({ entry: 0x100_0000n, segments }));
      loadLinuxSync({ kernel, memory: 64 * MIB });
      assert.ok(kernel.reads <= n + 20, `${kernel.reads} reads of ${n} segments`);
    }
  });

  it("p_memsz 2^63 and the like are refused at once", () => {
    for (const memsz of [1n << 62n, 1n << 63n, (1n << 64n) - 1n, (1n << 63n) - 4096n]) {
      for (const paddr of [0x100_0000n, 1n << 63n, (1n << 64n) - 4096n]) {
        const kernel = counting(makeElf({ entry: paddr, segments: [{ paddr, memsz }] }));
        const start = performance.now();
        assert.throws(() => loadLinuxSync({ kernel, memory: 64 * MIB }), DirectBootError);
        assert.ok(performance.now() - start < 2000);
        assert.ok(kernel.bytesRead < 2000);
      }
    }
  });

  it("e_phnum 65535 over a file that does not have them is refused by its length", () => {
    const kernel = counting(makeElf({ phnum: 65_534, byteLength: 5000 }));
    assert.throws(() => loadLinuxSync({ kernel, memory: MIB }), refusal("ELF_INVALID_PROGRAM_HEADER"));
    assert.ok(kernel.bytesRead < 1000);
  });

  it("n segments within one another of a stream: what is kept of it is found in linear time, in as few blocks", async () => {
    const run = async (n: number): Promise<number> => {
      // One long range, and tiny ones inside it that are wanted again afterwards.
      const bytes = new Uint8Array(n * 8);
      const source = new StreamSource(makeStream(bytes, { chunks: [4096] }).stream, { byteLength: n * 8 });
      const tiny = Array.from({ length: n }, (_, i) => ({ start: 8 * i, end: 8 * i + 1 }));
      const ranges = [{ start: 0, end: n * 8 }, ...tiny];
      const buffers = process.memoryUsage().arrayBuffers;
      const start = performance.now();
      source.startStreaming(ranges);
      await source.read(new Uint8Array(n * 8), 0);
      const grown = process.memoryUsage().arrayBuffers - buffers;
      assert.ok(grown < 16 * MIB, `${grown} bytes for ${n} of them`);
      for (const { start: at } of tiny) await source.read(new Uint8Array(1), at);
      return performance.now() - start;
    };
    await run(1000);
    const [small, large] = [await run(2000), await run(8000)];
    assert.ok(large < 12 * small + 200, `${small} ms, ${large} ms`);
  });
});

describe("memory ranges", () => {
  const orders: Readonly<Record<string, (i: number, n: number) => number>> = {
    ascending: (i) => i,
    descending: (i, n) => n - 1 - i,
    "in no order": (i, n) => (i * 7919) % n,
  };
  for (const [name, order] of Object.entries(orders)) {
    it(`n imports of one page, taken back, and n more: ${name}`, () => {
      checkLinear(name, 10_000, (n) => {
        const memory = GuestMemory.create(1 << 30);
        const byte = Uint8Array.of(1);
        return () => {
          const importer = new GuestMemoryImporter(memory);
          const load = () => {
            for (let i = 0; i < n; i++)
              importer.importPages(BigInt(2 * order(i, n)), 1, `${i}`, "Exclusive", byte);
          };
          const transaction = importer.begin();
          load();
          transaction.rollback();
          load();
          assert.equal(importer.regions.length, n);
          memory.reset();
          assert.equal(memory.read(2n * 4096n * BigInt(n - 1), 1)[0], 0);
        };
      });
    });
  }

  it("many tiny ranges of RAM: a plan, a load and a reset in linear time", () => {
    checkLinear("ranges", 10_000, (n) => {
      const ranges = Array.from({ length: n }, (_, i) => ({
        start: 0x1000_0000 + i * 8192,
        end: 0x1000_1000 + i * 8192,
      }));
      return () => {
        const layout = new MemoryLayout([{ start: 0, end: 64 * MIB }, ...ranges]);
        planLinuxSync({ kernel: makeVmlinux(50_000), memory: layout });
      };
    });
  });

  it("n banks of a caller's buffer", () => {
    checkLinear("banks", 5000, (n) => {
      const buffer = new ArrayBuffer(64 * MIB + n * 4096);
      const banks = [
        { guestPhysicalAddress: 0, byteOffset: 0, byteLength: 64 * MIB },
        ...Array.from({ length: n }, (_, i) => ({
          guestPhysicalAddress: 0x1000_0000 + i * 8192,
          byteOffset: 64 * MIB + (n - 1 - i) * 4096,
          byteLength: 4096,
        })),
      ];
      return () => {
        const guest = loadLinuxSync({ kernel: makeVmlinux(50_000), memory: { buffer, banks } });
        guest.memory.reset();
      };
    });
  });

  it("n segments in n ranges of RAM", () => {
    checkLinear("segments in ranges", 2000, (n) => {
      const ranges = Array.from({ length: n }, (_, i) => ({
        start: 0x100_0000 + i * 4096,
        end: 0x100_1000 + i * 4096,
      }));
      const segments = Array.from({ length: n }, (_, i) => ({
        paddr: 0x100_0000n + 4096n * BigInt(n - 1 - i),
        memsz: 4096n,
      }));
      const kernel = makeElf({ entry: 0x100_0000n, segments });
      const memory = new MemoryLayout([{ start: 0, end: MIB }, ...ranges]);
      return () => planLinuxSync({ kernel, memory });
    });
  });

  it("n reservations, which go on in setup_data", () => {
    checkLinear("reservations", 5000, (n) => {
      const reservations = Array.from({ length: n }, (_, i) => ({
        start: 0x1000_0000n + 16n * BigInt(n - i),
        end: 0x1000_0000n + 16n * BigInt(n - i) + 5n,
        type: 2 + (i % 2),
      }));
      return () => planLinuxSync({ kernel: makeVmlinux(50_000), memory: 512 * MIB, reservations });
    });
    checkLinear("e820", 10_000, (n) => {
      const reservations = Array.from({ length: n }, (_, i) => ({
        start: 4096n * BigInt(n - i),
        end: 4096n * BigInt(n - i) + 8192n,
        type: 2,
      }));
      return () => buildE820Map(new MemoryLayout(1 << 30), reservations);
    });
  });
});

/** A device tree whose /memory has n ranges of 2 MiB, apart from each other; or n nodes within or beside one another. */
function treeOf(structure: readonly number[], strings: string): Uint8Array {
  const names = new TextEncoder().encode(strings);
  const total = 56 + structure.length * 4 + names.byteLength;
  const tree = new Uint8Array(total);
  const view = new DataView(tree.buffer);
  const header = [
    0xd00d_feed,
    total,
    56,
    56 + structure.length * 4,
    40,
    17,
    16,
    0,
    names.byteLength,
    structure.length * 4,
  ];
  for (const [index, word] of [...header, 0, 0, 0, 0, ...structure].entries())
    view.setUint32(index * 4, word >>> 0);
  tree.set(names, 56 + structure.length * 4);
  return tree;
}
const [BEGIN, END, PROP, FINISH] = [1, 2, 3, 9];
const text = (value: string): number[] => {
  const bytes = new Uint8Array(Math.ceil((value.length + 1) / 4) * 4);
  new TextEncoder().encodeInto(value, bytes);
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getUint32(4 * i));
};
const STRINGS = "#address-cells\0#size-cells\0reg\0device_type\0";
const memoryTree = (n: number, length: number): Uint8Array =>
  treeOf(
    [
      ...[BEGIN, 0, PROP, 4, 0, 2, PROP, 4, 15, 2],
      ...[BEGIN, ...text("memory@40000000"), PROP, 7, 31, ...text("memory"), PROP, n * 16, 27],
      ...Array.from({ length: n }, (_, i) => {
        const at = 0x4000_0000n + BigInt(i) * 0x40_0000n;
        return [Number(at >> 32n), Number(at & 0xffff_ffffn), 0, length];
      }).flat(),
      ...[END, END, FINISH],
    ],
    STRINGS,
  );

describe("device trees", () => {
  it("n ranges of /memory, none of which the kernel fits in", () => {
    checkLinear("tree's ranges", 4000, (n) => {
      const deviceTree = memoryTree(n, 0x1000);
      assert.equal(memoryOfTree(deviceTree).length, n);
      const kernel = makeImage(50_000, 60_000);
      return () => planLinuxSync({ kernel, deviceTree, memory: n * 0x1000 });
    });
  });

  it("n ranges of /memory, each of which the kernel fits in, and the initrd not", () => {
    const kernel = makeImage(50_000, 60_000);
    for (const n of [200, 800]) {
      const deviceTree = memoryTree(n, 0x40_0000 - 0x1000);
      const source = counting(kernel);
      const start = performance.now();
      attempt(() =>
        planLinuxSync({
          kernel: source,
          deviceTree,
          initrd: { name: "large", byteLength: 8 * MIB, readSync: () => {}, read: async () => {} },
          memory: n * (0x40_0000 - 0x1000),
        }),
      );
      assert.ok(performance.now() - start < 10_000);
      assert.ok(source.reads < 8 * n, `${source.reads} reads for ${n} ranges`);
    }
  });

  it("depth and breadth: n nodes within one another, and beside one another", () => {
    checkLinear("depth", 5000, (n) => {
      const deep = treeOf(
        [
          ...Array.from({ length: n }, () => [BEGIN, 0]).flat(),
          ...Array.from({ length: n }, () => END),
          FINISH,
        ],
        STRINGS,
      );
      return () => {
        attempt(() => readDeviceTree(deep));
        attempt(() => memoryOfTree(deep));
        attempt(() => setChosen(deep, { bootargs: "x" }));
      };
    });
    checkLinear("breadth", 5000, (n) => {
      const nodes = Array.from({ length: n }, (_, i) => [BEGIN, ...text(`n${i}`), END]).flat();
      const wide = treeOf([BEGIN, 0, ...nodes, END, FINISH], STRINGS);
      return () => {
        readDeviceTree(wide);
        memoryOfTree(wide);
        setChosen(wide, { bootargs: "x" });
      };
    });
  });
});

describe("compressed data", () => {
  it("bombs stop at the caller's limit, having made no more steps than that takes", () => {
    const bomb = new Uint8Array(64 * MIB);
    for (const method of ONE_OF_EACH) {
      const packed = compress(method, bomb);
      for (const maxDecompressedSize of [1000, 4 * MIB]) {
        let steps = 0;
        assert.throws(() => {
          runSync(
            decoders.tasks.decode(method.format, packed, { maxDecompressedSize }, false, ({ produced }) => {
              steps++;
              assert.ok(produced <= maxDecompressedSize + 1024);
            }),
          );
        }, refusal("DECOMPRESS_TOO_LARGE"));
        assert.ok(steps <= maxDecompressedSize / (2 * MIB) + 2, `${method.format}: ${steps} steps`);
      }
    }
  });

  it("n empty members, frames or streams, one behind the other", () => {
    for (const method of ONE_OF_EACH) {
      const empty = compress(method, new Uint8Array(0));
      checkLinear(method.format, 300, (n) => {
        const packed = Buffer.concat(Array.from({ length: n }, () => empty));
        return () =>
          decoders.decompress(method.format, packed, { maxDecompressedSize: MIB, allowTrailing: true });
      });
    }
  });

  it("n small archives in an initrd, which are decompressed", async () => {
    const gzip = ONE_OF_EACH.find(({ format }) => format === "gzip");
    assert.ok(gzip !== undefined);
    const one = compress(gzip, new TextEncoder().encode("070701"));
    const kernel = makeVmlinux(50_000);
    checkLinear("members", 300, (n) => {
      const initrd = Buffer.concat(Array.from({ length: n }, () => one));
      return () => loadLinuxSync({ kernel, initrd, memory: 64 * MIB, decompressInitrd: true, decoders });
    });
    const initrd = Buffer.concat(Array.from({ length: 2000 }, () => one));
    const plan = await planLinux({ kernel, initrd, memory: 64 * MIB, decompressInitrd: true });
    plan.close();
  });
});
