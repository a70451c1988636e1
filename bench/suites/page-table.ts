import { GuestMemory, type LargestPage, PageTableBuilder } from "../../src/index.js";
import { kernelsOverMemory } from "../../src/kernels/kernels.js";
import { identityMapTwin } from "../../src/kernels/twins.js";
import { type Case, GATED_ROUNDS, measureCases, type Suite } from "../harness.js";
import { GIB } from "../image.js";

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
  const kernels = kernelsOverMemory(memory, undefined);
  const tables = new Uint8Array(byteLength);
  kernels.identityMap(0x4000, map);
  identityMapTwin(tables, map);
  if (Buffer.compare(tables, new Uint8Array(memory.buffer, 0x4000, byteLength)) !== 0) {
    throw new Error("the twin makes other tables");
  }
  return {
    size: "4 GiB",
    byteLength,
    contenders: {
      [IN_PLACE]: () => kernels.identityMap(0x4000, map),
      "memory.copy of its bytes": () => kernels.copy(0x10000, 0x4000, byteLength),
      "JavaScript twin": () => identityMapTwin(tables, map),
    },
  };
}

/** A map by the builder, in new memory and in memory that was touched before, against copies of as many bytes. */
function* built(size: string, bytesMapped: number, largestPage: LargestPage): Generator<Case> {
  const options = { pageTableGpa: 0x4000, ranges: [{ start: 0, end: bytesMapped }], largestPage };
  const { byteLength } = new PageTableBuilder(options);
  const pages = Math.ceil(byteLength / 65536);
  const template = new PageTableBuilder(options).build();
  yield {
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
  yield {
    size,
    byteLength,
    contenders: {
      [BUILD_IN]: () => new PageTableBuilder(options).buildIn(memory),
      "memory.copy of its bytes": () => memory.write(elsewhere, tables),
    },
  };
}

export function pageTableSuite(): Suite {
  return {
    name: "page-table",
    about: "identity maps; bytes are those of the tables",
    ours: [IN_PLACE, BUILD, BUILD_IN],
    notes: [],
    async measure({ quick }) {
      const rounds = quick ? 3 : GATED_ROUNDS;
      const rows = await measureCases([fourGib()], { rounds, milliseconds: quick ? 8 : 20 });
      // New memory a sample: what others left behind is collected before.
      const timing = { rounds, milliseconds: quick ? 8 : 20, collects: true };
      rows.push(...(await measureCases(built("512 GiB, 2 MiB leaves", 512 * GIB, "2MiB"), timing)));
      rows.push(...(await measureCases(built("64 GiB, 4 KiB leaves", 64 * GIB, "4KiB"), timing)));
      return rows;
    },
  };
}
