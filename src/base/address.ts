/**
 * Addresses: u64 as bigint inside, `number | bigint` at the border. The one place that converts.
 * Alignments and page sizes as in SPEC §2 (OpenVMM's `hvdef` and `page_table::x64`).
 */
import { describeType } from "./describe.js";
import { DirectBootError, type DirectBootErrorCode } from "./errors.js";

/** Bytes in a page: OpenVMM's `hvdef::HV_PAGE_SIZE`; the 4 KiB page of x86-64 and arm64. */
export const HV_PAGE_SIZE = 4096n;
/** {@link HV_PAGE_SIZE} for host lengths. */
export const PAGE_BYTES = 4096;
/** Bytes in a large page of x86-64: 2 MiB (Intel SDM, volume 3A, section 4.5). */
export const LARGE_PAGE_SIZE = 0x20_0000n;
/** Bytes in a 1 GiB page of x86-64 (Intel SDM, volume 3A, section 4.5). */
export const PAGE_SIZE_1GB = 0x4000_0000n;
/** 2^64: one past the highest address. */
export const ADDRESS_LIMIT = 1n << 64n;
/** 2^52: one past the highest physical address that a page table entry can hold (Intel SDM 3A, 4.5). */
export const PHYSICAL_ADDRESS_LIMIT = 1n << 52n;

/** An address as callers give it: an integer from 0 to 2^64 - 1. */
export type AddressLike = number | bigint;

/** `value` as "0x…", for messages. */
export function hex(value: number | bigint): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

/** `[start, end)` as "0x…-0x…", for messages. */
export function hexRange(start: bigint, end: bigint): string {
  return `${hex(start)}-${hex(end)}`;
}

/**
 * Checks and converts an address, or any other u64, that came from outside.
 *
 * @throws TypeError if `value` is no bigint and no integer that a number holds exactly
 * @throws DirectBootError ADDRESS_OUT_OF_RANGE if it is negative or above 2^64 - 1
 */
export function toAddress(value: AddressLike, name: string): bigint {
  if (typeof value === "number") {
    if (!Number.isInteger(value)) throw new TypeError(`${name} must be an integer or a bigint, got ${value}`);
    if (value >= 0 && !Number.isSafeInteger(value)) {
      throw new TypeError(`${name} ${value} is beyond 2^53 - 1: give it as a bigint`);
    }
  } else if (typeof value !== "bigint") {
    throw new TypeError(`${name} must be a number or a bigint, got ${describeType(value)}`);
  }
  const address = BigInt(value);
  if (address < 0n || address >= ADDRESS_LIMIT) {
    throw new DirectBootError(
      "ADDRESS_OUT_OF_RANGE",
      `${name} is ${hex(address)}, outside 0x0-0xffffffffffffffff`,
    );
  }
  return address;
}

/**
 * Checks a length or a count of host data that came from outside: an integer from 0 to 2^53 - 1.
 *
 * @throws TypeError if it is not
 */
export function toLength(value: number | bigint, name: string): number {
  const length = typeof value === "bigint" ? Number(value) : value;
  if (!Number.isSafeInteger(length) || length < 0) {
    throw new TypeError(`${name} must be an integer from 0 to 2^53 - 1, got ${describeType(value)}`);
  }
  return length;
}

/** `a + b`, or the error that names `what` if it passes 2^64 - 1. */
export function addAddresses(
  a: bigint,
  b: bigint,
  what: string,
  code: DirectBootErrorCode = "ADDRESS_OVERFLOW",
): bigint {
  const sum = a + b;
  if (sum >= ADDRESS_LIMIT) {
    throw new DirectBootError(code, `${what}: ${hex(a)} + ${hex(b)} passes 2^64`);
  }
  return sum;
}

function alignUp(value: AddressLike, alignment: bigint): bigint {
  const address = toAddress(value, "address");
  return addAddresses(address, -address & (alignment - 1n), `aligning up to ${hex(alignment)}`);
}

/** `address` up to the next multiple of 4 KiB. Throws ADDRESS_OVERFLOW if that is 2^64. */
export function alignUpToPageSize(address: AddressLike): bigint {
  return alignUp(address, HV_PAGE_SIZE);
}

/** `address` up to the next multiple of 2 MiB. Throws ADDRESS_OVERFLOW if that is 2^64. */
export function alignUpToLargePageSize(address: AddressLike): bigint {
  return alignUp(address, LARGE_PAGE_SIZE);
}

/** `address` up to the next multiple of 1 GiB. Throws ADDRESS_OVERFLOW if that is 2^64. */
export function alignUpTo1GbPageSize(address: AddressLike): bigint {
  return alignUp(address, PAGE_SIZE_1GB);
}

/** Whole pages that hold `byteLength` bytes. */
export function pagesOf(byteLength: number): number {
  return Math.ceil(byteLength / PAGE_BYTES);
}

/** Throws UNALIGNED_ADDRESS unless `address` is page-aligned (OpenVMM's `check_address_alignment`). */
export function checkAddressAlignment(address: bigint, what: string): void {
  if (address % HV_PAGE_SIZE !== 0n) {
    throw new DirectBootError(
      "UNALIGNED_ADDRESS",
      `${what} ${hex(address)} is not a multiple of ${hex(HV_PAGE_SIZE)}`,
    );
  }
}

/** {@link toAddress} for one that must be page-aligned. Throws UNALIGNED_ADDRESS, too. */
export function toPageAddress(value: AddressLike, name: string): bigint {
  const address = toAddress(value, name);
  checkAddressAlignment(address, name);
  return address;
}
