/** The pages that a region of a file becomes: `import_file_region` of OpenVMM (common.rs). */
import { ADDRESS_LIMIT, HV_PAGE_SIZE, hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { Source } from "../sources/source.js";
import type { BootPageAcceptance } from "./importer.js";

/** A range of a file and where it goes; every number a u64. */
export interface FileRegion {
  readonly source: Source;
  readonly fileOffset: bigint;
  /** Bytes from the file. */
  readonly fileLength: bigint;
  /** Guest physical address, at any alignment. */
  readonly gpa: bigint;
  /** Bytes in memory: the file's, then zeros. */
  readonly memoryLength: bigint;
  readonly acceptance: BootPageAcceptance;
  readonly tag: string;
}

/** A file region in pages and host lengths. */
export interface FileRegionShape {
  readonly pageBase: bigint;
  readonly pageCount: number;
  readonly leadingBytes: number;
  readonly offset: number;
  readonly length: number;
}

/** The checks of `import_file_region`, in its order; undefined if there is nothing to import. */
export function checkFileRegion(region: FileRegion): FileRegionShape | undefined {
  const { source, fileOffset, fileLength, gpa, memoryLength, tag } = region;
  if (fileLength > memoryLength) {
    throw new DirectBootError(
      "REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH",
      `${tag}: file length ${hex(fileLength)} exceeds memory length ${hex(memoryLength)}`,
    );
  }
  if (memoryLength === 0n) return undefined;
  const leading = gpa % HV_PAGE_SIZE;
  const padded = leading + memoryLength + HV_PAGE_SIZE - 1n;
  if (padded >= ADDRESS_LIMIT || gpa + memoryLength > ADDRESS_LIMIT) {
    throw new DirectBootError(
      "REGION_OVERFLOW",
      `${tag}: ${hex(memoryLength)} bytes at ${hex(gpa)} pass 2^64`,
    );
  }
  if (fileLength > 0n && fileOffset + fileLength > BigInt(source.byteLength)) {
    throw new DirectBootError(
      "REGION_READ",
      `${tag}: bytes ${hex(fileOffset)} to ${hex(fileOffset + fileLength)} of ${source.name} are needed, it has ${hex(source.byteLength)}`,
    );
  }
  return {
    pageBase: gpa / HV_PAGE_SIZE,
    pageCount: Number(padded / HV_PAGE_SIZE),
    // Without data there is nothing to lead: upstream then imports an empty slice.
    leadingBytes: fileLength === 0n ? 0 : Number(leading),
    offset: fileLength === 0n ? 0 : Number(fileOffset),
    length: Number(fileLength),
  };
}
