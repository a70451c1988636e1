import { kernelsOverMemory } from "../../src/kernels/kernels.js";
import { SCRATCH_BYTES } from "../../src/kernels/wasm.js";
import { type Case, GATED_ROUNDS, measureCases, type Suite } from "../harness.js";
import { KIB, MIB, noise } from "../image.js";

const SIZES: readonly [string, number][] = [
  ["64 KiB", 64 * KIB],
  ["1 MiB", MIB],
];

type CopyCrc32 = (target: number, source: number, length: number, seed: number) => number;

export function copySuite(): Suite {
  const notes: string[] = [];
  return {
    name: "copy",
    about: "bytes moved and cleared within guest memory",
    ours: ["directboot, copy and CRC in one pass", "directboot, copy", "directboot, zero"],
    notes,
    async measure({ quick }) {
      notes.length = 0;
      // Source from 0, target from 2 MiB, scratch behind.
      const target = 2 * MIB;
      const scratch = 4 * MIB;
      const memory = new WebAssembly.Memory({ initial: (scratch + SCRATCH_BYTES) / 65536 });
      const bytes = new Uint8Array(memory.buffer);
      bytes.set(noise(2 * MIB));
      const kernels = kernelsOverMemory(memory, scratch);
      const found: Readonly<Record<string, unknown>> = { ...kernels };
      const { copyCrc32 } = found;
      const isFused = (value: unknown): value is CopyCrc32 => typeof value === "function";
      const fused = isFused(copyCrc32) ? copyCrc32 : undefined;
      if (fused === undefined) notes.push("copy and CRC in one pass: the kernels have no copyCrc32");
      const cases = SIZES.flatMap(([size, length]): Case[] => {
        const both = (): number => {
          kernels.copy(target, 0, length);
          return kernels.crc32(target, length, 0);
        };
        if (fused !== undefined && fused(target, 0, length, 0) !== both()) throw new Error("copyCrc32 is wrong");
        const host = bytes.slice(0, length);
        const place = bytes.subarray(target, target + length);
        return [
          {
            size,
            byteLength: length,
            contenders: {
              ...(fused === undefined
                ? {}
                : { "directboot, copy and CRC in one pass": () => fused(target, 0, length, 0) }),
              "copy, then CRC": both,
            },
          },
          {
            size,
            byteLength: length,
            contenders: {
              "directboot, copy": () => kernels.copy(target, 0, length),
              "Uint8Array.copyWithin": () => bytes.copyWithin(target, 0, length),
              "Uint8Array.set from the host": () => place.set(host),
            },
          },
          {
            size,
            byteLength: length,
            contenders: {
              "directboot, zero": () => kernels.zero(target, length),
              "Uint8Array.fill": () => place.fill(0),
            },
          },
        ];
      });
      return measureCases(cases, { rounds: quick ? 3 : GATED_ROUNDS, milliseconds: quick ? 8 : 20 });
    },
  };
}
