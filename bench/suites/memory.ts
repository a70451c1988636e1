import { outputOfNode, packageUrl, writeScript } from "../children.js";
import { GATED_ROUNDS, median, type Row, type Suite } from "../harness.js";
import { GIB, Image, MIB } from "../image.js";

const RAM_BYTES = GIB + 64 * MIB;

interface Peak {
  readonly rss: number;
  readonly guestBytes: number;
}

function toPeak(text: string): Peak {
  const value: unknown = JSON.parse(text);
  if (
    typeof value === "object" &&
    value !== null &&
    "rss" in value &&
    typeof value.rss === "number" &&
    "guestBytes" in value &&
    typeof value.guestBytes === "number"
  ) {
    return { rss: value.rss, guestBytes: value.guestBytes };
  }
  throw new Error(`a child printed ${text}`);
}

// maxRSS is in KiB. Guest pages count once, and whole.
const PRINT_PEAK = "JSON.stringify({ rss: process.resourceUsage().maxRSS * 1024, guestBytes })";
const GUEST_BYTES = "guest.regions.reduce((sum, { range }) => sum + Number(range.length), 0)";

export function memorySuite(): Suite {
  return {
    name: "memory",
    about: "peak RSS of a process that loads a 1 GiB ELF, beyond the guest pages touched and an empty Node",
    ours: ["directboot, loadLinuxSync", "directboot, loadLinux"],
    notes: [],
    async measure({ quick }) {
      const image = new Image();
      try {
        image.growSparse(GIB, 8 * MIB);
        const { folder, path } = image;
        const options = `{ kernel: ${JSON.stringify(path)}, memory: ${RAM_BYTES} }`;
        const loading = (
          call: string,
        ): string => `import { loadLinux, loadLinuxSync } from ${JSON.stringify(packageUrl())};
const guest = ${call}(${options});
const guestBytes = ${GUEST_BYTES};
console.log(${PRINT_PEAK});
`;
        const empty = writeScript(folder, "empty.mjs", `const guestBytes = 0; console.log(${PRINT_PEAK});\n`);
        const scripts = {
          "directboot, loadLinuxSync": writeScript(folder, "sync.mjs", loading("loadLinuxSync")),
          "directboot, loadLinux": writeScript(folder, "async.mjs", loading("await loadLinux")),
        };
        const rounds = quick ? 1 : GATED_ROUNDS;
        const beyond = new Map<string, number[]>();
        for (let round = 0; round < rounds; round++) {
          const base = toPeak(outputOfNode(empty));
          beyond.set("empty Node", [...(beyond.get("empty Node") ?? []), base.rss]);
          for (const [name, script] of Object.entries(scripts)) {
            const peak = toPeak(outputOfNode(script));
            if (peak.guestBytes < GIB) throw new Error(`${name} touched ${peak.guestBytes} bytes`);
            beyond.set(name, [...(beyond.get(name) ?? []), peak.rss - peak.guestBytes - base.rss]);
          }
        }
        return [...beyond].map(
          ([name, samples]): Row => ({
            name,
            size: name === "empty Node" ? "" : "1 GiB",
            bytesPerSecond: 0,
            nsPerOp: 0,
            samples: samples.length,
            ratioTo: {},
            bytes: median(samples),
          }),
        );
      } finally {
        image.close();
      }
    },
  };
}
