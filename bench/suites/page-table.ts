import { kernelsOverMemory } from "../../src/kernels/kernels.js";
import { identityMapTwin } from "../../src/kernels/twins.js";
import type { Suite } from "./suite.js";

export function pageTableSuite(): Suite {
  const map = {
    tableAddress: 0x4000,
    addressBias: 0,
    gibibytes: 4,
    encryption: 0,
    linkIndex: -1,
    linkTarget: 0,
  };
  const bytes = 6 * 4096;
  const memory = new WebAssembly.Memory({ initial: 4 });
  const kernels = kernelsOverMemory(memory, undefined);
  const tables = new Uint8Array(bytes);
  return {
    name: "page-table",
    about: "the 4 GiB identity map, 24 KiB, in place",
    ours: "directboot",
    millisecondsARound: 20,
    cases: [
      {
        size: "24 KiB",
        byteLength: bytes,
        contenders: {
          directboot: () => kernels.identityMap(0x4000, map),
          "memory.copy of its bytes": () => kernels.copy(0x10000, 0x4000, bytes),
          "JavaScript twin": () => identityMapTwin(tables, map),
        },
      },
    ],
  };
}
