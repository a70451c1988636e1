/** The hot paths in WebAssembly and their JavaScript twins, against zlib, platform calls and each other. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { AssemblyModule, decodeBase64, withSharedMemoryImport } from "../../src/wasm/assembly-module.js";
import type { BufferHotPaths, HotPathImplementation } from "../../src/wasm/hot-path-functions.js";
import {
  crc32,
  type HotPathExports,
  hotPaths,
  hotPathsOverBuffer,
  hotPathsOverMemory,
  SCRATCH_BYTES,
} from "../../src/wasm/hot-paths.js";
import { HOT_PATHS_WASM_BASE64 } from "../../src/wasm/hot-paths-wasm.generated.js";
import { type IdentityMap, identityMapBytes } from "../../src/wasm/identity-map.js";
import { crc32Twin, identityMapTwin, twinHotPaths } from "../../src/wasm/twins.js";
import { withHotPaths } from "../support/hot-path-choice.js";
import { inRoot } from "../support/paths.js";
import { noise } from "../support/sources.js";

const IMPLEMENTATIONS: readonly HotPathImplementation[] = ["wasm", "javascript"];
const MIB = 1 << 20;
const GIB = 2 ** 30;
const WASM_PAGE = 65536;

/** Runs a test over each implementation. */
function overEach(name: string, act: (implementation: HotPathImplementation) => void): void {
  for (const implementation of IMPLEMENTATIONS) {
    it(`${name} (${implementation})`, () => withHotPaths(implementation, () => act(implementation)));
  }
}

/** WebAssembly over a memory of `pages` pages, with scratch in its last. */
function inPlace(pages: number): { memory: WebAssembly.Memory; over: BufferHotPaths } {
  const memory = new WebAssembly.Memory({ initial: pages });
  const scratch = pages * WASM_PAGE - SCRATCH_BYTES;
  return { memory, over: withHotPaths("wasm", () => hotPathsOverMemory(memory, scratch)) };
}

const aSeed = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff_ffff }));

describe("crc32", () => {
  overEach("is zlib's for every length from 0 to 5000, alignment and seed", () => {
    const bytes = noise(5100);
    const property = fc.property(fc.nat(5000), fc.nat(100), aSeed, (length, offset, seed) => {
      const part = bytes.subarray(offset, offset + length);
      assert.equal(crc32(part, seed), zlibCrc32(part, seed));
    });
    fc.assert(property, { numRuns: 500 });
  });

  overEach("is zlib's around the bounds of its pieces, and up to 3 MiB", () => {
    const bytes = noise(3 * MIB + 7);
    for (const length of [255, 256, 257, 4096, 262143, 262144, 262145, 524289, 3 * MIB + 7]) {
      const part = bytes.subarray(bytes.byteLength - length);
      assert.equal(crc32(part), zlibCrc32(part), `${length} bytes`);
    }
  });

  overEach("of bytes over a SharedArrayBuffer and a WebAssembly.Memory is that of the bytes", () => {
    const bytes = noise(10_000);
    const { buffer } = new WebAssembly.Memory({ initial: 1 });
    for (const over of [new SharedArrayBuffer(10_003), buffer]) {
      const copy = new Uint8Array(over, 3, 10_000);
      copy.set(bytes);
      assert.equal(crc32(copy), zlibCrc32(bytes));
    }
  });

  it("of '123456789' is 0xcbf43926, the check value of the catalogue of CRCs", () => {
    assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
    assert.equal(crc32(new Uint8Array(0), 0xffff_ffff), 0xffff_ffff);
  });

  it("is a TypeError for what is no Uint8Array, or a seed that is no u32", () => {
    assert.throws(() => crc32("123456789" as unknown as Uint8Array), TypeError);
    assert.throws(() => crc32(new ArrayBuffer(4) as unknown as Uint8Array), { message: /ArrayBuffer/ });
    for (const seed of [-1, 0.5, 2 ** 32, Number.NaN, "0" as unknown as number]) {
      assert.throws(() => crc32(new Uint8Array(1), seed), { name: "TypeError", message: /seed/ });
    }
  });
});

/** Any map that `buildPageTables64` may ask for; the confidential bit lies above all addresses. */
const aMap: fc.Arbitrary<IdentityMap> = fc
  .record({
    tableAddress: fc.nat(2 ** 20).map((page) => page * 4096),
    addressBias: fc.oneof(
      fc.constant(0),
      fc.nat(2 ** 30).map((unit) => unit * 2 * MIB),
    ),
    gibibytes: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constant(512)),
    encryption: fc.constantFrom(0, 2 ** 51),
    linkIndex: fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: 511 })),
    linkTarget: fc.integer({ min: 0, max: 2 ** 38 }).map((page) => page * 4096),
  })
  // A bias and a size that reach bit 51 would meet the confidential bit.
  .filter(({ addressBias }) => addressBias < 2 ** 50);

describe("WebAssembly and the twins", () => {
  it("write the same identity map, whatever was there, and nothing beside it", () => {
    const { memory, over } = inPlace(36);
    const bytes = new Uint8Array(memory.buffer, 0, 35 * WASM_PAGE);
    const property = fc.property(aMap, fc.nat(9), (map, firstPage) => {
      const length = identityMapBytes(map);
      const offset = firstPage * 4096;
      bytes.fill(0xa5);
      const expected = bytes.slice();
      expected.fill(0x5a, offset, offset + length);
      identityMapTwin(expected.subarray(offset, offset + length), map);
      over.identityMap(offset, map);
      assert.equal(Buffer.compare(bytes, expected), 0);
    });
    fc.assert(property, { numRuns: 60 });
  });

  it("write entries of address, bits and confidential bit, at any alignment", () => {
    const { memory, over } = inPlace(2);
    const bytes = new Uint8Array(memory.buffer, 0, WASM_PAGE);
    const someEntries = fc.record({
      offset: fc.nat(9000),
      count: fc.nat(600),
      unit: fc.nat(2 ** 20),
      step: fc.constantFrom(0, 4096, 2 * MIB, GIB),
      bits: fc.constantFrom(0x23, 0x61, 0x63, 0xe3),
      encryption: fc.constantFrom(0, 2 ** 51),
    });
    fc.assert(
      fc.property(someEntries, ({ offset, count, unit, step, bits, encryption }) => {
        const address = unit * Math.max(step, 4096);
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

  overEach("copy, also where the ranges overlap, and zero, and touch nothing else", () => {
    const memory = new WebAssembly.Memory({ initial: 2 });
    const over = hotPathsOverMemory(memory, WASM_PAGE);
    const size = 4096;
    const bytes = new Uint8Array(memory.buffer, 0, size);
    const place = fc.nat(size);
    fc.assert(
      fc.property(place, place, place, (target, source, most) => {
        const length = Math.min(most, size - Math.max(target, source));
        bytes.set(noise(size));
        const expected = bytes.slice().copyWithin(target, source, source + length);
        over.copy(target, source, length);
        assert.equal(Buffer.compare(bytes, expected), 0);
        over.zero(target, length);
        assert.equal(Buffer.compare(bytes, expected.fill(0, target, target + length)), 0);
      }),
    );
  });

  /** Buffers of every kind that guest memory may have, with an offset to work at. */
  const BUFFERS: Readonly<
    Record<string, () => { buffer: ArrayBufferLike; over: BufferHotPaths; at: number }>
  > = {
    "a memory of 3 GiB, above 2^31": () => {
      // Untouched pages cost nothing.
      const memory = new WebAssembly.Memory({ initial: (3 * GIB) / WASM_PAGE });
      return {
        buffer: memory.buffer,
        over: hotPathsOverMemory(memory, 3 * GIB - SCRATCH_BYTES),
        at: 2 ** 31 + 4096,
      };
    },
    "a memory without scratch": () => {
      const memory = new WebAssembly.Memory({ initial: 2 });
      return { buffer: memory.buffer, over: hotPathsOverMemory(memory, undefined), at: 4096 };
    },
    "a shared memory": () => {
      const memory = new WebAssembly.Memory({ initial: 3, maximum: 4, shared: true });
      return { buffer: memory.buffer, over: hotPathsOverMemory(memory, 2 * WASM_PAGE), at: 4096 };
    },
    "a buffer that is no WebAssembly.Memory": () => {
      const buffer = new ArrayBuffer(2 * WASM_PAGE);
      return { buffer, over: hotPathsOverBuffer(buffer), at: 4096 };
    },
  };
  for (const [name, make] of Object.entries(BUFFERS)) {
    overEach(`work in ${name}`, () => {
      const { buffer, over, at } = make();
      const around = new Uint8Array(buffer, at - 100, 60_000);
      const expected = noise(60_000);
      around.set(expected);
      assert.equal(over.crc32(at, 50_001, 7), zlibCrc32(expected.subarray(100, 50_101), 7));
      assert.equal(over.copyCrc32(at + 5000, at, 1000, 9), zlibCrc32(expected.subarray(100, 1100), 9));
      expected.copyWithin(5100, 100, 1100);
      over.zero(at, 1000);
      expected.fill(0, 100, 1100);
      const map = {
        tableAddress: at,
        addressBias: 0,
        gibibytes: 4,
        encryption: 0,
        linkIndex: 7,
        linkTarget: 0x5000,
      };
      over.identityMap(at + 8192, map);
      identityMapTwin(expected.subarray(8292, 8292 + identityMapBytes(map)), map);
      assert.equal(Buffer.compare(around, expected), 0);
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

describe("the WebAssembly module", () => {
  const module = decodeBase64(HOT_PATHS_WASM_BASE64);
  const compiled = new AssemblyModule<HotPathExports>(HOT_PATHS_WASM_BASE64);

  it("imports a memory and nothing else, and has no data, memory or start function of its own", () => {
    for (const bytes of [module, withSharedMemoryImport(module)]) {
      const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes));
      assert.deepEqual(imports, [{ module: "env", name: "memory", kind: "memory" }]);
    }
    const [data, dataCount, memory, start] = [11, 12, 5, 8];
    const ids = sectionIds(module);
    for (const id of [data, dataCount, memory, start]) assert.ok(!ids.includes(id), `section ${id}`);
  });

  it("that has no such import is not patched", () => {
    assert.throws(() => withSharedMemoryImport(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])), TypeError);
  });

  it("attaches to memories of 0, 1 and 65536 pages, once each, and changes none", () => {
    for (const initial of [0, 1, 65536]) {
      const memory = new WebAssembly.Memory({ initial });
      const exports = compiled.over(memory);
      assert.equal(compiled.over(memory), exports);
      assert.equal(exports.zero(0, 0), undefined);
      const head = new Uint8Array(memory.buffer, 0, Math.min(initial, 1) * WASM_PAGE);
      assert.ok(head.every((byte) => byte === 0));
    }
  });

  it("writes only to its scratch, which is no more than is kept for it", () => {
    const memory = new WebAssembly.Memory({ initial: 2 });
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(0xee);
    const size = compiled.over(memory).crc32Prepare(4096);
    assert.ok(size <= SCRATCH_BYTES);
    assert.ok(bytes.subarray(0, 4096).every((byte) => byte === 0xee));
    assert.ok(bytes.subarray(4096 + size).every((byte) => byte === 0xee));
  });
});

describe("hotPaths", () => {
  /** Replaces a global of the platform while `act` runs, and chooses again what was chosen before. */
  function without(holder: object, name: string, value: unknown, act: () => void): void {
    const descriptor = Object.getOwnPropertyDescriptor(holder, name) ?? assert.fail(name);
    withHotPaths(hotPaths.implementation, () => {
      Object.defineProperty(holder, name, { value, configurable: true, writable: true });
      try {
        hotPaths.use("auto");
        act();
      } finally {
        Object.defineProperty(holder, name, descriptor);
      }
    });
  }

  it("use takes a name, or a module of directboot/wasm, and is a TypeError for anything else", () => {
    withHotPaths(hotPaths.implementation, () => {
      hotPaths.use("javascript");
      // The shortest module that there is: magic and version.
      const empty = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
      for (const choice of ["WASM", "", undefined, null, 1, {}, new Uint8Array(8)]) {
        assert.throws(() => hotPaths.use(choice as unknown as "auto"), TypeError);
      }
      assert.throws(() => hotPaths.use(empty), /lacks .*crc32Prepare/);
      assert.equal(hotPaths.implementation, "javascript");
      const given = new WebAssembly.Module(readFileSync(inRoot("build/wasm/hot-paths.wasm")));
      for (const choice of ["wasm", given, "auto"] as const) {
        hotPaths.use("javascript");
        hotPaths.use(choice);
        assert.equal(hotPaths.implementation, "wasm");
        assert.equal(crc32(noise(1000)), zlibCrc32(noise(1000)));
      }
    });
  });

  it("are the twins where there is no WebAssembly, or compiling is forbidden", () => {
    const check = (): void => {
      assert.equal(crc32(noise(5000)), crc32Twin(noise(5000), 0));
      assert.equal(hotPaths.implementation, "javascript");
      assert.throws(() => hotPaths.use({} as unknown as "auto"), TypeError);
    };
    without(globalThis, "WebAssembly", undefined, check);
    // As under a Content-Security-Policy.
    const forbidden = (): never => {
      throw new WebAssembly.CompileError("Wasm code generation disallowed by embedder");
    };
    without(WebAssembly, "Module", forbidden, check);
  });

  it("importing the package compiles nothing; the first CRC does, once", () => {
    const url = pathToFileURL(inRoot("dist/index.js")).href;
    const script = `
      const made = { Module: 0, Instance: 0, Memory: 0 };
      for (const name of Object.keys(made)) {
        WebAssembly[name] = new Proxy(WebAssembly[name], {
          construct(target, args) { made[name]++; return Reflect.construct(target, args); },
        });
      }
      const { crc32 } = await import(${JSON.stringify(url)});
      const atImport = { ...made };
      crc32(new Uint8Array(5000));
      crc32(new Uint8Array(5000));
      console.log(JSON.stringify([atImport, made]));
    `;
    const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    assert.equal(run.status, 0, run.stderr);
    assert.deepEqual(JSON.parse(run.stdout), [
      { Module: 0, Instance: 0, Memory: 0 },
      { Module: 1, Instance: 1, Memory: 1 },
    ]);
  });
});
