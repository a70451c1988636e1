/** Sizes and addresses as people read them. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes in the largest unit that keeps them at 1 or more, rounded to one decimal. */
export function formatSize(byteLength: number | bigint): string {
  let value = Number(byteLength);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(1))} ${UNITS[unit]}`;
}

/** An address with as many digits as the addresses below 4 GiB have. */
export function formatAddress(address: bigint): string {
  return `0x${address.toString(16).padStart(8, "0")}`;
}
