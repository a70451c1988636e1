/** Checksums of the regions in guest memory. */
import type { LinuxGuest } from "../linux/loaded-linux.js";
import { jsonSafe } from "./json-safe.js";

/** A region and the CRC-32 of its data. `JSON.stringify` gives the addresses as hex strings. */
export interface RegionChecksum {
  /** The region's tag. */
  readonly name: string;
  readonly start: bigint;
  /** One past the last byte. */
  readonly end: bigint;
  /** Bytes from the start that the checksum is of; the rest of the region was zero when it was loaded. */
  readonly dataLength: number;
  /** CRC-32 (zlib's), unsigned. */
  readonly crc32: number;
}

/**
 * The CRC-32 of each region's data as it is in memory now, in the order of the regions. Nothing is copied.
 *
 * @param loaded a guest of `loadLinux`, or any guest memory with its regions
 * @throws DirectBootError GUEST_MEMORY_NOT_RAM if a region does not lie in that memory
 */
export function regionChecksums({
  memory,
  regions,
}: Pick<LinuxGuest, "memory" | "regions">): RegionChecksum[] {
  return regions.map(({ range: { start, end }, tag, dataLength }) =>
    jsonSafe({ name: tag, start, end, dataLength, crc32: memory.crc32(start, dataLength) }),
  );
}
