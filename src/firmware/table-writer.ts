/** Bytes of tables that firmware leaves in memory: little-endian fields, and sums that are 0. */

/** Bytes that grow field by field. */
export class TableWriter {
  readonly #bytes: number[] = [];

  /** How many bytes there are. */
  get byteLength(): number {
    return this.#bytes.length;
  }

  u8(...values: readonly number[]): this {
    for (const value of values) this.#bytes.push(value & 0xff);
    return this;
  }

  u16(value: number): this {
    return this.u8(value, value >> 8);
  }

  u32(value: number): this {
    return this.u16(value).u16(value >>> 16);
  }

  u64(value: bigint): this {
    return this.u32(Number(value & 0xffff_ffffn)).u32(Number(value >> 32n));
  }

  zeros(count: number): this {
    for (let index = 0; index < count; index++) this.#bytes.push(0);
    return this;
  }

  ascii(text: string): this {
    for (const letter of text) this.#bytes.push(letter.charCodeAt(0));
    return this;
  }

  /** A generic address (ACPI 6.5, table 5.1); the access size is left to the bit width. */
  address(space: number, bits: number, address: bigint): this {
    return this.u8(space, bits, 0, 0).u64(address);
  }

  toBytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

/** The byte that makes the sum of all bytes 0. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return -sum & 0xff;
}
