import { packageUrl, timeNode, writeScript } from "../children.js";
import { measureCases, type Suite } from "../harness.js";
import { Image, MIB } from "../image.js";

const ROUNDS = 21;
/** A page of WebAssembly (core specification, "Memory Instances"). */
const WASM_PAGE_BYTES = 65536;

export function coldStartSuite(): Suite {
  return {
    name: "cold-start",
    about: "a Node process from start to end",
    ours: ["directboot, import and load", "directboot, import and crc32"],
    baseline: "empty Node",
    notes: [],
    async measure({ quick }) {
      const image = new Image();
      try {
        image.grow(MIB);
        const { folder } = image;
        const empty = writeScript(folder, "empty.mjs", "");
        const loadInto = (ramBytes: number): string =>
          writeScript(
            folder,
            `load-${ramBytes}.mjs`,
            `import { loadLinuxSync } from ${JSON.stringify(packageUrl())};
loadLinuxSync({ kernel: ${JSON.stringify(image.path)}, memory: ${ramBytes} });
`,
          );
        const load = loadInto(64 * MIB);
        // V8 collects garbage when a buffer of more than 64 MiB is made: RAM of 64 MiB and the scratch behind it is one.
        const small = loadInto(32 * MIB);
        // No loader can go below this: the same bytes into the same memory, and nothing else.
        const bare = writeScript(
          folder,
          "bare.mjs",
          `import { openSync, readSync } from "node:fs";
const memory = new WebAssembly.Memory({ initial: ${(64 * MIB) / WASM_PAGE_BYTES} });
readSync(openSync(${JSON.stringify(image.path)}), new Uint8Array(memory.buffer, ${16 * MIB}, ${MIB}));
`,
        );
        const crc32 = writeScript(
          folder,
          "crc32.mjs",
          `import { crc32 } from ${JSON.stringify(packageUrl())};
if (crc32(new Uint8Array(${MIB})) !== 0xa738ea1c) process.exitCode = 1;
`,
        );
        return await measureCases(
          [
            {
              size: "1 MiB",
              byteLength: 0,
              contenders: {
                "empty Node": { nanoseconds: () => timeNode(empty) },
                "readSync into a WebAssembly.Memory": { nanoseconds: () => timeNode(bare) },
                "directboot, import and load": { nanoseconds: () => timeNode(load) },
                "directboot, import and load, 32 MiB RAM": { nanoseconds: () => timeNode(small) },
                "directboot, import and crc32": { nanoseconds: () => timeNode(crc32) },
              },
            },
          ],
          { rounds: quick ? 3 : ROUNDS, milliseconds: 0 },
        );
      } finally {
        image.close();
      }
    },
  };
}
