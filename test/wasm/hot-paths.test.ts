import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { AssemblyModule, decodeBase64, withSharedMemoryImport } from "../../src/wasm/assembly-module.js";
import type { BufferHotPaths, HotPathImplementation } from "../../src/wasm/hot-path-functions.js";
import { crc32, hotPaths, hotPathsOverBuffer, hotPathsOverMemory } from "../../src/wasm/hot-paths.js";
import { HOT_PATHS_WASM_BASE64 } from "../../src/wasm/hot-paths-wasm.generated.js";
import { type IdentityMap, identityMapBytes } from "../../src/wasm/identity-map.js";
import { type HotPathExports, SCRATCH_BYTES, WasmHotPaths } from "../../src/wasm/instance.js";
import { crc32Twin, identityMapTwin, twinHotPaths } from "../../src/wasm/twins.js";
import { withHotPaths } from "../support/hot-path-choice.js";
import { entriesOf, walkPages } from "../support/page-walk.js";
import { inRoot } from "../support/paths.js";
import { noise } from "../support/sources.js";

const IMPLEMENTATIONS: readonly HotPathImplementation[] = ["wasm", "javascript"];
const MIB = 1 << 20;
const GIB = 2 ** 30;
const WASM_PAGE = 65536;

/** The WASM hot paths in place over a memory of `pages` pages, with scratch in its last. */
function inPlace(pages: number): { memory: WebAssembly.Memory; over: BufferHotPaths } {
  const memory = new WebAssembly.Memory({ initial: pages });
  return { memory, over: new WasmHotPaths().attach(memory, pages * WASM_PAGE - SCRATCH_BYTES) };
}

const aSeed = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff_ffff }));

/** Maps as `buildPageTables64` gives them to the kernel; the confidential bit lies above all addresses. */
const aMap: fc.Arbitrary<IdentityMap> = fc
  .record({
    tableAddress: fc.integer({ min: 0, max: 2 ** 40 - 600 }).map((page) => page * 4096),
    addressBias: fc.oneof(
      fc.constant(0),
      fc.integer({ min: 1, max: 2 ** 31 - 8 * 512 }).map((unit) => unit * 2 * MIB),
    ),
    gibibytes: fc.integer({ min: 1, max: 8 }),
    linkIndex: fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: 511 })),
    linkTarget: fc.integer({ min: 0, max: 2 ** 40 - 1 }).map((page) => page * 4096),
    scale: fc.integer({ min: 0, max: 20 }),
    isConfidential: fc.boolean(),
  })
  .map(({ scale, isConfidential, ...map }) => {
    // Small addresses, too, so that there is room for a confidential bit above them.
    const shrink = (address: number, unit: number): number => Math.floor(address / unit / 2 ** scale) * unit;
    const tableAddress = shrink(map.tableAddress, 4096);
    const addressBias = shrink(map.addressBias, 2 * MIB);
    const linkTarget = shrink(map.linkTarget, 4096);
    const highest = Math.max(tableAddress + MIB, addressBias + map.gibibytes * GIB, linkTarget);
    const bit = Math.ceil(Math.log2(highest));
    const encryption = isConfidential && bit < 52 ? 2 ** bit : 0;
    return { ...map, tableAddress, addressBias, linkTarget, encryption };
  });

describe("crc32", () => {
  for (const implementation of IMPLEMENTATIONS) {
    it(`is zlib's crc32 for every length from 0 to 5000, alignment and seed (${implementation})`, () => {
      withHotPaths(implementation, () => {
        const bytes = noise(5100);
        const aLength = fc.integer({ min: 0, max: 5000 });
        const anOffset = fc.integer({ min: 0, max: 100 });
        fc.assert(
          fc.property(aLength, anOffset, aSeed, (length, offset, seed) => {
            const part = bytes.subarray(offset, offset + length);
            assert.equal(crc32(part, seed), zlibCrc32(part, seed));
          }),
          { numRuns: 500 },
        );
      });
    });

    it(`is zlib's crc32 around the bounds of its pieces, and up to 3 MiB (${implementation})`, () => {
      withHotPaths(implementation, () => {
        const bytes = noise(3 * MIB + 7);
        const lengths = [255, 256, 257, 4096, 262143, 262144, 262145, 524288, 524289, 3 * MIB, 3 * MIB + 7];
        for (const length of lengths) {
          const part = bytes.subarray(bytes.byteLength - length);
          assert.equal(crc32(part), zlibCrc32(part), `${length} bytes`);
        }
      });
    });

    it(`goes on from its seed: crc(a + b) = crc(b, crc(a)) (${implementation})`, () => {
      withHotPaths(implementation, () => {
        const some = fc.uint8Array({ maxLength: 2000 });
        fc.assert(
          fc.property(some, some, aSeed, (a, b, seed) => {
            const both = new Uint8Array([...a, ...b]);
            assert.equal(crc32(b, crc32(a, seed)), crc32(both, seed));
          }),
        );
      });
    });

    it(`of bytes over a SharedArrayBuffer and a WebAssembly.Memory is that of the bytes (${implementation})`, () => {
      withHotPaths(implementation, () => {
        const bytes = noise(10_000);
        const shared = new Uint8Array(new SharedArrayBuffer(10_000));
        shared.set(bytes);
        const linear = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer, 3, 10_000);
        linear.set(bytes);
        assert.equal(crc32(shared), zlibCrc32(bytes));
        assert.equal(crc32(linear), zlibCrc32(bytes));
      });
    });
  }

  it("of '123456789' is 0xcbf43926, the check value of the catalogue of CRCs", () => {
    assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
    assert.equal(crc32(new Uint8Array(0)), 0);
    assert.equal(crc32(new Uint8Array(0), 0xffff_ffff), 0xffff_ffff);
  });

  it("is a TypeError for what is no Uint8Array, or a seed that is no u32", () => {
    assert.throws(() => crc32("123456789" as unknown as Uint8Array), TypeError);
    assert.throws(() => crc32(new ArrayBuffer(4) as unknown as Uint8Array), { message: /ArrayBuffer/ });
    for (const seed of [-1, 0.5, 2 ** 32, Number.NaN, "0" as unknown as number]) {
      assert.throws(() => crc32(new Uint8Array(1), seed), { name: "TypeError", message: /seed/ });
    }
  });

  it("in place is zlib's at every alignment, and leaves the bytes as they are", () => {
    const { memory, over } = inPlace(3);
    const bytes = noise(2 * WASM_PAGE);
    new Uint8Array(memory.buffer).set(bytes);
    const anOffset = fc.integer({ min: 0, max: 200 });
    const aLength = fc.integer({ min: 0, max: 6000 });
    fc.assert(
      fc.property(anOffset, aLength, aSeed, (offset, length, seed) => {
        const part = bytes.subarray(offset, offset + length);
        assert.equal(over.crc32(offset, length, seed), zlibCrc32(part, seed));
      }),
    );
    assert.equal(over.crc32(0, 2 * WASM_PAGE, 0), zlibCrc32(bytes));
    assert.deepEqual(new Uint8Array(memory.buffer, 0, 2 * WASM_PAGE), bytes);
  });

  it("without scratch in the memory goes through the hot paths' own", () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const bytes = noise(WASM_PAGE);
    new Uint8Array(memory.buffer).set(bytes);
    const over = new WasmHotPaths().attach(memory, undefined);
    assert.equal(over.crc32(0, WASM_PAGE, 0), zlibCrc32(bytes));
    assert.deepEqual(new Uint8Array(memory.buffer), bytes);
  });
});

describe("the twins and the WASM hot paths", () => {
  it("write the same tables, and all of them, over any bytes", () => {
    const pages = 2;
    const { memory, over } = inPlace(pages + 1);
    fc.assert(
      fc.property(aMap, fc.integer({ min: 0, max: 9 }), (map, firstPage) => {
        const length = identityMapBytes(map);
        const offset = firstPage * 4096;
        const bytes = new Uint8Array(memory.buffer, 0, pages * WASM_PAGE);
        bytes.fill(0xa5);
        over.identityMap(offset, map);
        const twin = new Uint8Array(length).fill(0x5a);
        identityMapTwin(twin, map);
        assert.equal(Buffer.compare(bytes.subarray(offset, offset + length), twin), 0);
        assert.ok(bytes.subarray(0, offset).every((byte) => byte === 0xa5));
        assert.ok(bytes.subarray(offset + length).every((byte) => byte === 0xa5));
      }),
    );
  });

  it("write the same 512 page directories", () => {
    const map = {
      tableAddress: 0x10_0000,
      addressBias: 0,
      gibibytes: 512,
      encryption: 0,
      linkIndex: -1,
      linkTarget: 0,
    };
    const { memory, over } = inPlace(34);
    over.identityMap(0, map);
    const twin = new Uint8Array(identityMapBytes(map));
    identityMapTwin(twin, map);
    assert.equal(Buffer.compare(new Uint8Array(memory.buffer, 0, twin.byteLength), twin), 0);
  });

  it("write the same entries: address, bits and confidential bit, at any alignment", () => {
    const { memory, over } = inPlace(2);
    const bytes = new Uint8Array(memory.buffer, 0, WASM_PAGE);
    const someEntries = fc.record({
      offset: fc.nat(9000),
      count: fc.nat(600),
      unit: fc.nat(2 ** 20),
      step: fc.constantFrom(0, 4096, 2 * MIB, GIB),
      bits: fc.constantFrom(0x23, 0x61, 0x63, 0xe3),
      isConfidential: fc.boolean(),
    });
    fc.assert(
      fc.property(someEntries, ({ offset, count, unit, step, bits, isConfidential }) => {
        const address = unit * Math.max(step, 4096);
        const encryption = isConfidential ? 2 ** 51 : 0;
        bytes.fill(0xa5);
        const twin = bytes.slice();
        const expected = bytes.slice();
        const view = new DataView(expected.buffer);
        for (let i = 0; i < count; i++) {
          const entry = BigInt(address + i * step) | BigInt(bits) | BigInt(encryption);
          view.setBigUint64(offset + i * 8, entry, true);
        }
        over.entries(offset, count, address, step, bits, encryption);
        twinHotPaths(() => twin.buffer).entries(offset, count, address, step, bits, encryption);
        assert.equal(Buffer.compare(bytes, expected), 0);
        assert.equal(Buffer.compare(twin, expected), 0);
      }),
    );
  });

  it("move the same bytes, also where the ranges overlap", () => {
    const { memory, over } = inPlace(2);
    const size = 4096;
    const bytes = new Uint8Array(memory.buffer, 0, size);
    const place = fc.integer({ min: 0, max: size });
    fc.assert(
      fc.property(place, place, place, (target, source, most) => {
        const length = Math.min(most, size - Math.max(target, source));
        bytes.set(noise(size));
        const twin = bytes.slice();
        const expected = bytes.slice();
        expected.copyWithin(target, source, source + length);
        over.copy(target, source, length);
        twinHotPaths(() => twin.buffer).copy(target, source, length);
        assert.equal(Buffer.compare(bytes, expected), 0);
        assert.equal(Buffer.compare(twin, expected), 0);
      }),
    );
  });

  for (const implementation of IMPLEMENTATIONS) {
    it(`zero touches nothing outside its range (${implementation})`, () => {
      withHotPaths(implementation, () => {
        const memory = new WebAssembly.Memory({ initial: 2 });
        const over = hotPathsOverMemory(memory, WASM_PAGE);
        assert.equal(over.implementation, implementation);
        const bytes = new Uint8Array(memory.buffer, 0, 4096);
        const place = fc.integer({ min: 0, max: 4096 });
        fc.assert(
          fc.property(place, place, (a, b) => {
            const [start, end] = a < b ? [a, b] : [b, a];
            bytes.fill(0xff);
            over.zero(start, end - start);
            assert.ok(bytes.every((byte, index) => byte === (index >= start && index < end ? 0 : 0xff)));
          }),
        );
      });
    });

    it(`work above 2^31 in a memory of 3 GiB (${implementation})`, () => {
      withHotPaths(implementation, () => {
        // Untouched pages cost nothing.
        const memory = new WebAssembly.Memory({ initial: (3 * GIB) / WASM_PAGE });
        const over = hotPathsOverMemory(memory, 3 * GIB - SCRATCH_BYTES);
        const at = 2 ** 31 + 12345;
        const around = new Uint8Array(memory.buffer, at - 100, 40_000);

        const bytes = noise(40_000);
        around.set(bytes);
        assert.equal(over.crc32(at, 30_001, 0), zlibCrc32(bytes.subarray(100, 30_101)));

        over.copy(at + 5000, at, 1000);
        bytes.copyWithin(5100, 100, 1100);
        assert.equal(Buffer.compare(around, bytes), 0);

        over.zero(at, 1000);
        bytes.fill(0, 100, 1100);
        assert.equal(Buffer.compare(around, bytes), 0);

        const map: IdentityMap = {
          tableAddress: 2 ** 31 + 65536,
          addressBias: 0,
          gibibytes: 4,
          encryption: 0,
          linkIndex: 7,
          linkTarget: 0x5000,
        };
        over.identityMap(map.tableAddress, map);
        const twin = new Uint8Array(identityMapBytes(map));
        identityMapTwin(twin, map);
        const written = new Uint8Array(memory.buffer, map.tableAddress, twin.byteLength);
        assert.equal(Buffer.compare(written, twin), 0);
      });
    });

    it(`work in a shared memory (${implementation})`, () => {
      withHotPaths(implementation, () => {
        const memory = new WebAssembly.Memory({ initial: 2, maximum: 4, shared: true });
        const over = hotPathsOverMemory(memory, WASM_PAGE);
        assert.equal(over.implementation, implementation);
        const bytes = new Uint8Array(memory.buffer, 0, WASM_PAGE);
        bytes.set(noise(WASM_PAGE));
        assert.equal(over.crc32(0, WASM_PAGE, 0), zlibCrc32(noise(WASM_PAGE)));
        over.zero(16, 4096);
        assert.ok(bytes.subarray(16, 4112).every((byte) => byte === 0));
        assert.equal(bytes[4112], noise(WASM_PAGE)[4112]);
      });
    });

    it(`work on a buffer that is no WebAssembly.Memory (${implementation})`, () => {
      withHotPaths(implementation, () => {
        const bytes = noise(70_000);
        const over = hotPathsOverBuffer(bytes.buffer);
        assert.equal(over.crc32(3, 60_000, 5), zlibCrc32(noise(70_000).subarray(3, 60_003), 5));
        over.zero(10, 20);
        over.copy(0, 1000, 10);
        const expected = noise(70_000);
        expected.fill(0, 10, 30).copyWithin(0, 1000, 1010);
        assert.equal(Buffer.compare(bytes, expected), 0);
      });
    });
  }
});

describe("the identity map", () => {
  for (const implementation of IMPLEMENTATIONS) {
    it(`leads every address where the walk of the manual says (${implementation})`, () => {
      withHotPaths(implementation, () => {
        fc.assert(
          fc.property(aMap, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (map, share) => {
            const tables = new Uint8Array(identityMapBytes(map));
            hotPathsOverBuffer(tables.buffer).identityMap(0, map);
            const ignored = BigInt(map.encryption);
            const base = BigInt(map.tableAddress);
            const level = map.addressBias === 0 ? 4 : 3;
            const size = map.gibibytes * GIB;
            const entryAt = entriesOf(tables, base);
            for (const linear of [0, Math.floor(share * size), size - 1].map(BigInt)) {
              const walk = walkPages(entryAt, base, linear, { level, ignored });
              assert.equal(walk?.address, linear + BigInt(map.addressBias));
              assert.equal(walk?.pageBytes, 0x20_0000n);
              assert.equal(walk?.writable, true);
              // Accessed (bit 5) in all, dirty (bit 6) in the leaf, the C-bit in all: no write by the processor.
              assert.ok(
                walk?.entries.every((entry) => (entry & 0x20n) !== 0n && (entry & ignored) === ignored),
              );
              assert.equal((walk?.entries.at(-1) ?? 0n) & 0x40n, 0x40n);
            }
            if (map.gibibytes < 512) {
              assert.equal(walkPages(entryAt, base, BigInt(size), { level, ignored }), undefined);
            }
          }),
        );
      });
    });

    it(`links the PML4 entry that it is told to, and sets no other (${implementation})`, () => {
      withHotPaths(implementation, () => {
        const map = {
          tableAddress: 0x4000,
          addressBias: 0,
          gibibytes: 4,
          encryption: 2 ** 47,
          linkIndex: 300,
          linkTarget: 0xabc_d000,
        };
        const tables = new Uint8Array(identityMapBytes(map));
        hotPathsOverBuffer(tables.buffer).identityMap(0, map);
        const pml4 = new BigUint64Array(tables.buffer, 0, 512);
        const set = [...pml4.entries()].filter(([, entry]) => entry !== 0n);
        const bits = 0x23n | (1n << 47n);
        assert.deepEqual(set, [
          [0, 0x5000n | bits],
          [300, 0xabc_d000n | bits],
        ]);
      });
    });
  }
});

/** The ids of a module's sections (WebAssembly core specification, 5.5.2), walked by their lengths. */
function sectionIds(module: Uint8Array): number[] {
  const ids: number[] = [];
  let at = 8;
  while (at < module.byteLength) {
    ids.push(module[at++] ?? -1);
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = module[at++] ?? 0;
      size |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    at += size;
  }
  assert.equal(at, module.byteLength);
  return ids;
}

describe("the WASM module", () => {
  const module = decodeBase64(HOT_PATHS_WASM_BASE64);
  const compiled = new AssemblyModule<HotPathExports>(HOT_PATHS_WASM_BASE64);

  it("inlined is build/wasm/hot-paths.wasm, byte for byte", () => {
    assert.equal(Buffer.compare(module, readFileSync(inRoot("build/wasm/hot-paths.wasm"))), 0);
  });

  it("that has no such import is not patched", () => {
    assert.throws(() => withSharedMemoryImport(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])), TypeError);
  });

  it("imports a memory and nothing else", () => {
    for (const bytes of [module, withSharedMemoryImport(module)]) {
      const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes));
      assert.deepEqual(imports, [{ module: "env", name: "memory", kind: "memory" }]);
    }
  });

  it("has no data, no data count, no memory of its own and no start function", () => {
    const [data, dataCount, memory, start] = [11, 12, 5, 8];
    const ids = sectionIds(module);
    for (const id of [data, dataCount, memory, start])
      assert.ok(!ids.includes(id), `section ${id} in ${ids}`);
  });

  it("attaches to memories of 0, 1 and 65536 pages, and changes none", () => {
    for (const initial of [0, 1, 65536]) {
      const memory = new WebAssembly.Memory({ initial });
      const exports = compiled.over(memory);
      assert.equal(exports.zero(0, 0), undefined);
      const head = new Uint8Array(memory.buffer, 0, Math.min(initial, 1) * WASM_PAGE);
      assert.ok(head.every((byte) => byte === 0));
    }
  });

  it("needs no more scratch than is kept for it", () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const exports = compiled.over(memory);
    assert.ok(exports.crc32Prepare(0) <= SCRATCH_BYTES);
  });

  it("writes nothing behind its scratch", () => {
    const memory = new WebAssembly.Memory({ initial: 2 });
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(0xee);
    const exports = compiled.over(memory);
    const end = 4096 + exports.crc32Prepare(4096);
    assert.ok(bytes.subarray(0, 4096).every((byte) => byte === 0xee));
    assert.ok(bytes.subarray(end).every((byte) => byte === 0xee));
  });
});

describe("hotPaths", () => {
  /** Runs `act`, and chooses again what was chosen before. */
  function restoring(act: () => void): void {
    withHotPaths(hotPaths.implementation, act);
  }

  it("use takes a name, or a module of directboot/wasm", () => {
    restoring(() => {
      hotPaths.use("javascript");
      assert.equal(hotPaths.implementation, "javascript");
      assert.equal(
        hotPathsOverMemory(new WebAssembly.Memory({ initial: 1 }), undefined).implementation,
        "javascript",
      );
      hotPaths.use("wasm");
      assert.equal(hotPaths.implementation, "wasm");
      hotPaths.use("javascript");
      hotPaths.use(new WebAssembly.Module(readFileSync(inRoot("build/wasm/hot-paths.wasm"))));
      assert.equal(hotPaths.implementation, "wasm");
      assert.equal(crc32(noise(1000)), zlibCrc32(noise(1000)));
      hotPaths.use("javascript");
      hotPaths.use("auto");
      assert.equal(hotPaths.implementation, "wasm");
    });
  });

  it("use is a TypeError for anything else, and then changes nothing", () => {
    restoring(() => {
      hotPaths.use("javascript");
      for (const choice of ["WASM", "", undefined, null, 1, {}, decodeBase64(HOT_PATHS_WASM_BASE64)]) {
        assert.throws(() => hotPaths.use(choice as unknown as "auto"), TypeError);
        assert.equal(hotPaths.implementation, "javascript");
      }
    });
  });

  it("use is a TypeError for a module that is not ours, which names what it lacks", () => {
    restoring(() => {
      hotPaths.use("javascript");
      // The shortest module that there is: magic and version.
      const empty = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
      assert.throws(() => hotPaths.use(empty), /lacks .*crc32Prepare/);
      assert.equal(hotPaths.implementation, "javascript");
    });
  });

  it("the twins take over where there is no WebAssembly", () => {
    restoring(() => {
      const descriptor = Object.getOwnPropertyDescriptor(globalThis, "WebAssembly");
      assert.ok(descriptor);
      assert.ok(Reflect.deleteProperty(globalThis, "WebAssembly"));
      try {
        hotPaths.use("auto");
        assert.equal(crc32(noise(5000)), crc32Twin(noise(5000), 0));
        assert.equal(hotPaths.implementation, "javascript");
        assert.throws(() => hotPaths.use({} as unknown as "auto"), TypeError);
      } finally {
        Object.defineProperty(globalThis, "WebAssembly", descriptor);
      }
    });
  });

  it("the twins take over where compiling is forbidden, as by a Content-Security-Policy", () => {
    restoring(() => {
      const { Module } = WebAssembly;
      const forbidden = (): never => {
        throw new WebAssembly.CompileError("Wasm code generation disallowed by embedder");
      };
      Object.defineProperty(WebAssembly, "Module", { value: forbidden, configurable: true, writable: true });
      try {
        hotPaths.use("auto");
        assert.equal(hotPaths.implementation, "javascript");
      } finally {
        Object.defineProperty(WebAssembly, "Module", { value: Module, configurable: true, writable: true });
      }
    });
  });

  for (const entry of ["build/src/index.js", "dist/index.js"]) {
    it(`importing ${entry} compiles nothing; the first CRC does, once`, () => {
      const url = pathToFileURL(inRoot(entry)).href;
      const script = `
        let compiled = 0;
        for (const name of ["Module", "Instance", "Memory"]) {
          const Original = WebAssembly[name];
          WebAssembly[name] = new Proxy(Original, {
            construct(target, args) { if (name === "Module") compiled++; else touched++; return Reflect.construct(target, args); },
          });
        }
        let touched = 0;
        for (const name of ["compile", "instantiate", "compileStreaming", "instantiateStreaming"]) {
          const original = WebAssembly[name];
          WebAssembly[name] = (...args) => { compiled++; return original(...args); };
        }
        const { crc32 } = await import(${JSON.stringify(url)});
        const atImport = [compiled, touched];
        crc32(new Uint8Array(5000));
        crc32(new Uint8Array(5000));
        console.log(JSON.stringify({ atImport, compiled }));
      `;
      const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
      assert.equal(run.status, 0, run.stderr);
      assert.deepEqual(JSON.parse(run.stdout), { atImport: [0, 0], compiled: 1 });
    });
  }
});
