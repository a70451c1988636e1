import { GuestMemory } from "../../src/index.js";
import { type LargestPage, PageTableBuilder } from "../../src/loader.js";
import { hotPathsOverMemory } from "../../src/wasm/hot-paths.js";
import { identityMapTwin } from "../../src/wasm/twins.js";
import { type Case, GATED_ROUNDS, measureCases, type Suite } from "../harness.js";
import { GIB } from "../image.js";
import { limitsOver } from "../limits.js";

/** Fills four page directories and zeroes two tables, whatever is written. */
export const STORES = "limit: stores of its bytes";
export const MEMORY_COPY = "memory.copy of its bytes";
const IN_PLACE = "directboot, in place";
const BUILD = "directboot, PageTableBuilder.build";
const BUILD_IN = "directboot, PageTableBuilder.buildIn";

function fourGib(): Case {
  const map = {
    tableAddress: 0x4000,
    addressBias: 0,
    gibibytes: 4,
    encryption: 0,
    linkIndex: -1,
    linkTarget: 0,
  };
  const byteLength = 6 * 4096;
  const memory = new WebAssembly.Memory({ initial: 4 });
  const hotPaths = hotPathsOverMemory(memory, undefined);
  const limits = limitsOver(memory);
  const tables = new Uint8Array(byteLength);
  hotPaths.identityMap(0x4000, map);
  identityMapTwin(tables, map);
  if (Buffer.compare(tables, new Uint8Array(memory.buffer, 0x4000, byteLength)) !== 0) {
    throw new Error("the twin makes other tables");
  }
  return {
    size: "4 GiB",
    byteLength,
    contenders: {
      [IN_PLACE]: () => hotPaths.identityMap(0x4000, map),
      [MEMORY_COPY]: () => hotPaths.copy(0x10000, 0x4000, byteLength),
      [STORES]: () => limits.stores(0x4000, 2 * 4096, 4 * 4096),
      "JavaScript twin": () => identityMapTwin(tables, map),
    },
  };
}

/** A map by the builder, and copies of as many bytes. */
function built(size: string, bytesMapped: number, largestPage: LargestPage): { inNew: Case; inUsed: Case } {
  const options = { pageTableGpa: 0x4000, ranges: [{ start: 0, end: bytesMapped }], largestPage };
  const { byteLength } = new PageTableBuilder(options);
  const pages = Math.ceil(byteLength / 65536);
  const template = new PageTableBuilder(options).build();
  const inNew: Case = {
    size,
    byteLength,
    contenders: {
      [BUILD]: () => new PageTableBuilder(options).build(),
      "copy of its bytes to new memory": () => {
        new Uint8Array(new WebAssembly.Memory({ initial: pages }).buffer).set(template);
      },
    },
  };
  // Twice the tables, the first at 0x4000.
  const { pageTableGpa } = options;
  const elsewhere = pageTableGpa + pages * 65536;
  const memory = GuestMemory.create((2 * pages + 1) * 65536);
  memory.write(pageTableGpa, template);
  memory.write(elsewhere, template);
  const tables = memory.view(pageTableGpa, byteLength);
  const inUsed: Case = {
    size,
    byteLength,
    contenders: {
      [BUILD_IN]: () => new PageTableBuilder(options).buildIn(memory),
      [MEMORY_COPY]: () => memory.write(elsewhere, tables),
    },
  };
  return { inNew, inUsed };
}

export function pageTableSuite(): Suite {
  return {
    name: "page-table",
    about: "identity maps; bytes are those of the tables",
    ours: [IN_PLACE, BUILD, BUILD_IN],
    notes: [],
    async measure({ quick }) {
      const rounds = quick ? 3 : GATED_ROUNDS;
      const timing = { rounds, milliseconds: quick ? 8 : 20 };
      const rows = await measureCases([fourGib()], timing);
      for (const [size, bytesMapped, largestPage] of [
        ["512 GiB, 2 MiB leaves", 512 * GIB, "2MiB"],
        ["64 GiB, 4 KiB leaves", 64 * GIB, "4KiB"],
      ] as const) {
        const { inNew, inUsed } = built(size, bytesMapped, largestPage);
        // New memory a sample: what others left behind is collected before.
        rows.push(...(await measureCases([inNew], { ...timing, collects: true })));
        rows.push(...(await measureCases([inUsed], timing)));
      }
      return rows;
    },
  };
}
