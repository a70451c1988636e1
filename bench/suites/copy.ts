import { hotPathsOverMemory, SCRATCH_BYTES } from "../../src/wasm/hot-paths.js";
import { type Case, GATED_ROUNDS, measureCases, type Suite } from "../harness.js";
import { KIB, MIB, noise } from "../image.js";

const SIZES: readonly [string, number][] = [
  ["64 KiB", 64 * KIB],
  ["4 MiB", 4 * MIB],
  ["64 MiB", 64 * MIB],
];

export function copySuite(): Suite {
  return {
    name: "copy",
    about: "bytes moved and cleared within guest memory",
    ours: ["directboot, copy and CRC in one pass", "directboot, copy", "directboot, zero"],
    notes: [],
    async measure({ quick }) {
      // Source from 0, target from 64 MiB, scratch behind.
      const target = 64 * MIB;
      const scratch = 2 * target;
      const memory = new WebAssembly.Memory({ initial: (scratch + SCRATCH_BYTES) / 65536 });
      const bytes = new Uint8Array(memory.buffer);
      bytes.set(noise(target));
      const hotPaths = hotPathsOverMemory(memory, scratch);
      const cases = SIZES.flatMap(([size, length]): Case[] => {
        const both = (): number => {
          hotPaths.copy(target, 0, length);
          return hotPaths.crc32(target, length, 0);
        };
        const fused = (): number => hotPaths.copyCrc32(target, 0, length, 0);
        if (fused() !== both()) throw new Error("copyCrc32 gives another CRC");
        const host = bytes.slice(0, length);
        const place = bytes.subarray(target, target + length);
        return [
          {
            size,
            byteLength: length,
            contenders: {
              "directboot, copy and CRC in one pass": fused,
              "copy, then CRC": both,
            },
          },
          {
            size,
            byteLength: length,
            contenders: {
              "directboot, copy": () => hotPaths.copy(target, 0, length),
              "Uint8Array.copyWithin": () => bytes.copyWithin(target, 0, length),
              "Uint8Array.set from the host": () => place.set(host),
            },
          },
          {
            size,
            byteLength: length,
            contenders: {
              "directboot, zero": () => hotPaths.zero(target, length),
              "Uint8Array.fill": () => place.fill(0),
            },
          },
        ];
      });
      return measureCases(cases, { rounds: quick ? 3 : GATED_ROUNDS, milliseconds: quick ? 8 : 20 });
    },
  };
}
