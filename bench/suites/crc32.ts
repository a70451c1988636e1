import { crc32 as zlibCrc32 } from "node:zlib";
import crc32Package from "crc-32";
import { crc32, GuestMemory } from "../../src/index.js";
import type { Suite } from "./suite.js";

const SIZES: readonly [string, number][] = [
  ["64 B", 64],
  ["4 KiB", 4096],
  ["64 KiB", 65536],
  ["1 MiB", 1 << 20],
  ["64 MiB", 64 << 20],
];

export function crc32Suite(): Suite {
  const memory = GuestMemory.create(64 << 20);
  memory.write(
    0,
    Uint8Array.from({ length: 64 << 20 }, (_, i) => (i * 7 + (i >> 8) * 13) & 255),
  );
  const host = memory.read(0, 64 << 20);
  return {
    name: "crc32",
    about: "CRC-32 of random-looking bytes",
    ours: "directboot, in guest memory",
    millisecondsARound: 20,
    cases: SIZES.map(([size, byteLength]) => {
      const bytes = host.subarray(0, byteLength);
      return {
        size,
        byteLength,
        contenders: {
          "directboot, in guest memory": () => memory.crc32(0, byteLength),
          "directboot, Uint8Array": () => crc32(bytes),
          "crc-32": () => crc32Package.buf(bytes),
          "node:zlib": () => zlibCrc32(bytes),
        },
      };
    }),
  };
}
