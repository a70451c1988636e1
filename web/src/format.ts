/** Numbers for people. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const UNIT_BYTES: Readonly<Record<string, number>> = {
  "": 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** Bytes in the largest unit that keeps them at 1 or more. */
export function formatBytes(byteLength: number | bigint): string {
  let value = Number(byteLength);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** An address with as many digits as those below 4 GiB have. */
export function formatAddress(address: bigint): string {
  return `0x${address.toString(16).padStart(8, "0")}`;
}

export function formatHex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

/** A CRC-32 as tools print it. */
export function formatCrc32(crc32: number): string {
  return crc32.toString(16).padStart(8, "0");
}

/** Milliseconds with as many digits as mean anything. */
export function formatMilliseconds(milliseconds: number): string {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(2)} s`;
  return milliseconds < 10 ? `${milliseconds.toFixed(2)} ms` : `${milliseconds.toFixed(0)} ms`;
}

/** Bytes from text such as 64M or 2G; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*([0-9]+|0x[0-9a-f]+)\s*([KMGT]?)(i?B)?\s*$/i.exec(text);
  const unit = UNIT_BYTES[match?.[2]?.toUpperCase() ?? ""];
  if (match?.[1] === undefined || unit === undefined) return undefined;
  const bytes = Number(match[1]) * unit;
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}
