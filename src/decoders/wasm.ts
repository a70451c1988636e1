/**
 * The decoders' WASM: compiled from the inlined bytes at the first call, never at import, and attached to the linear
 * memory that holds the output.
 */
import { ChosenModule } from "../wasm/assembly-module.js";
import { DECODERS_WASM_BASE64 } from "./decoders-wasm.generated.js";

/** The exports of assembly/decoders.ts. Addresses and results are numbers; a u32 may come back negative. */
export interface DecoderExports extends Record<string, unknown> {
  adler32(seed: number, pointer: number, length: number): number;
  arm64Filter(pointer: number, length: number, position: number): number;
  bzip2Begin(state: number, work: number): void;
  bzip2Header(state: number, work: number, level: number): number;
  bzip2Run(state: number, work: number): number;
  crc32(pointer: number, length: number, seed: number, scratch: number): number;
  crc32Prepare(scratch: number): number;
  crc64(state: number, pointer: number, length: number, tables: number): void;
  crc64Prepare(tables: number): void;
  deltaFilter(start: number, pointer: number, length: number, distance: number): number;
  inflateBegin(state: number, work: number): void;
  inflateRun(state: number, work: number): number;
  lz4Begin(state: number): void;
  lz4Run(state: number): number;
  lzmaBegin(state: number): number;
  lzmaCode(state: number): number;
  lzmaPosition(state: number, start: number): void;
  lzmaReset(state: number, probabilities: number, lc: number, lp: number, pb: number): void;
  lzmaRun(state: number): number;
  lzo1xRun(state: number): number;
  sha256Blocks(state: number, pointer: number, length: number): void;
  x86Begin(state: number): void;
  x86Filter(state: number, pointer: number, length: number, position: number): number;
  xxh32Begin(state: number): void;
  xxh32End(state: number, pointer: number, length: number): number;
  xxh32Update(state: number, pointer: number, length: number): number;
  xxh64Begin(state: number): void;
  xxh64End(state: number, pointer: number, length: number): number;
  xxh64Update(state: number, pointer: number, length: number): number;
  zstdBegin(state: number, work: number): void;
  zstdBlock(state: number, work: number): number;
}

const chosen = new ChosenModule<DecoderExports>({
  base64: DECODERS_WASM_BASE64,
  name: "directboot/wasm/decoders",
  exports: ["zstdBlock"],
  chooser: "decoders.use",
});

/** Which decoders run, and the switch between them. */
export const decoders = {
  /** The implementation in use. The first read compiles the WASM, unless `use` was called before. */
  get implementation(): "wasm" | "javascript" {
    return chosen.implementation;
  },

  /**
   * Chooses the decoders from now on: a `WebAssembly.Module` made from `directboot/wasm/decoders` serves runtimes
   * that forbid compiling from bytes, "javascript" does without WebAssembly (then only gzip can be decompressed, by
   * node:zlib), and "auto" chooses again at the next call: a module that was given before, or the inlined one.
   *
   * @throws TypeError for anything else
   */
  use(choice: "auto" | "javascript" | WebAssembly.Module): void {
    chosen.use(choice);
  },
};

/** The decoders over `memory`; undefined where there is no WebAssembly for it. */
export function decodersOver(memory: WebAssembly.Memory): DecoderExports | undefined {
  return chosen.over(memory);
}
