import { wrongType } from "../base/options.js";
import type { BootPageAcceptance, ImageLoad, VpRegister } from "./importer.js";

/** A call that a {@link RecordingImporter} took. */
export type RecordedCall<R extends VpRegister = VpRegister> =
  | {
      readonly op: "pages";
      readonly pageBase: bigint;
      readonly pageCount: number;
      readonly tag: string;
      readonly acceptance: BootPageAcceptance;
      /** A copy of the data as passed, without the zeros that follow. */
      readonly data: Uint8Array;
    }
  | { readonly op: "register"; readonly register: R };

/**
 * Writes down every call, in order, and accepts all: for tests, and for showing what a load would do.
 *
 * @example
 * ```ts
 * import { loadLinuxSync, RecordingImporter } from "directboot";
 *
 * const importer = new RecordingImporter();
 * loadLinuxSync({ kernel: "vmlinuz", memory: 64 * 1024 * 1024, importer });
 * for (const call of importer.calls) {
 *   if (call.op === "pages" && call.tag === "linux-kernel") console.log(call.pageBase, call.data.byteLength); // 4096n 4096
 * }
 * ```
 */
export class RecordingImporter<R extends VpRegister = VpRegister> implements ImageLoad<R> {
  /** The calls so far. */
  readonly calls: RecordedCall<R>[] = [];

  /** Writes the call down, with a copy of the data. */
  importPages(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    data: Uint8Array,
  ): void {
    if (!(data instanceof Uint8Array)) throw wrongType("data", "a Uint8Array", data);
    this.calls.push({ op: "pages", pageBase, pageCount, tag, acceptance, data: data.slice() });
  }

  /** Writes the call down. */
  importVpRegister(register: R): void {
    this.calls.push({ op: "register", register });
  }
}
