/** Where things were loaded: OpenVMM's KernelInfo, InitrdInfo and LoadInfo. */

import { type AddressLike, hex, toAddress } from "../base/address.js";
import { shape } from "../base/options.js";

/** The kernel. */
export interface KernelInfo {
  /** Guest physical address that it was loaded at. */
  readonly gpa: bigint;
  /** Bytes of the region that it was loaded to. */
  readonly size: bigint;
  /** Guest physical address of its entry point. */
  readonly entrypoint: bigint;
}

/** The initrd. */
export interface InitrdInfo {
  /** Guest physical address that it was loaded at. */
  readonly gpa: bigint;
  /** Its length in bytes; the pages imported are this, rounded up. */
  readonly size: bigint;
}

/** Where parts were loaded. `JSON.stringify` gives addresses as hex strings. */
export class LoadInfo {
  /** The kernel. */
  readonly kernel: KernelInfo;
  /** The initrd; undefined if there is none. */
  readonly initrd: InitrdInfo | undefined;
  /** The device tree, `[start, end)`; `end` is exact, not rounded up. */
  readonly dtb: { readonly start: bigint; readonly end: bigint } | undefined;

  constructor(kernel: KernelInfo, initrd: InitrdInfo | undefined, dtb: LoadInfo["dtb"]) {
    this.kernel = kernel;
    this.initrd = initrd;
    this.dtb = dtb;
  }

  /** Addresses as hex strings, sizes as numbers of bytes; `null` for parts that are not there. */
  toJSON(): {
    kernel: { gpa: string; size: number; entrypoint: string };
    initrd: { gpa: string; size: number } | null;
    dtb: { start: string; end: string } | null;
  } {
    const { kernel, initrd, dtb } = this;
    return {
      kernel: { gpa: hex(kernel.gpa), size: Number(kernel.size), entrypoint: hex(kernel.entrypoint) },
      initrd: initrd === undefined ? null : { gpa: hex(initrd.gpa), size: Number(initrd.size) },
      dtb: dtb === undefined ? null : { start: hex(dtb.start), end: hex(dtb.end) },
    };
  }
}

/** A {@link LoadInfo} as callers may give it. */
export interface LoadInfoInput {
  /** Where the kernel lies, and its entry point. */
  readonly kernel: {
    readonly gpa: AddressLike;
    readonly size: AddressLike;
    readonly entrypoint: AddressLike;
  };
  /** Where the initrd lies, if there is one. */
  readonly initrd?: { readonly gpa: AddressLike; readonly size: AddressLike } | null | undefined;
  /** The device tree, `[start, end)`, if there is one. */
  readonly dtb?: { readonly start: AddressLike; readonly end: AddressLike } | null | undefined;
}

const isLoadInfo = shape({ kernel: shape({}) });

/** Checks and converts a {@link LoadInfoInput}. */
export function toLoadInfo(input: LoadInfoInput): LoadInfo {
  isLoadInfo(input, "loadInfo");
  const { kernel, initrd, dtb } = input;
  const part = ({ gpa, size }: { gpa: AddressLike; size: AddressLike }, name: string): InitrdInfo => ({
    gpa: toAddress(gpa, `${name}.gpa`),
    size: toAddress(size, `${name}.size`),
  });
  return new LoadInfo(
    { ...part(kernel, "kernel"), entrypoint: toAddress(kernel.entrypoint, "kernel.entrypoint") },
    initrd == null ? undefined : part(initrd, "initrd"),
    dtb == null
      ? undefined
      : { start: toAddress(dtb.start, "dtb.start"), end: toAddress(dtb.end, "dtb.end") },
  );
}
