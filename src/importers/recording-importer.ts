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

/** Writes down every call, in order, and accepts all: for tests, and for showing what a load would do. */
export class RecordingImporter<R extends VpRegister = VpRegister> implements ImageLoad<R> {
  readonly calls: RecordedCall<R>[] = [];

  importPages(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    data: Uint8Array,
  ): void {
    this.calls.push({ op: "pages", pageBase, pageCount, tag, acceptance, data: data.slice() });
  }

  importVpRegister(register: R): void {
    this.calls.push({ op: "register", register });
  }
}
