import { DIST_URL, timeNode, writeScript } from "../children.js";
import { measureCases, type Suite } from "../harness.js";
import { Image, MIB } from "../image.js";

const ROUNDS = 21;

export function coldStartSuite(): Suite {
  return {
    name: "cold-start",
    about: "a Node process from start to end",
    ours: ["directboot, import and load", "directboot, import and crc32"],
    notes: [],
    async measure({ quick }) {
      const image = new Image();
      try {
        image.grow(MIB);
        const { folder } = image;
        const empty = writeScript(folder, "empty.mjs", "");
        const load = writeScript(
          folder,
          "load.mjs",
          `import { loadLinuxSync } from ${JSON.stringify(DIST_URL)};
loadLinuxSync({ kernel: ${JSON.stringify(image.path)}, memory: ${64 * MIB} });
`,
        );
        const crc32 = writeScript(
          folder,
          "crc32.mjs",
          `import { crc32 } from ${JSON.stringify(DIST_URL)};
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
                "directboot, import and load": { nanoseconds: () => timeNode(load) },
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
