/**
 * Compiled modules that the build for a runtime hands in: workerd and its kin forbid compiling from bytes, but import a
 * .wasm file as a WebAssembly.Module. The exports' conditions `workerd` and `edge-light` name files that do so.
 */

/** The package's modules, compiled. */
export interface ProvidedModules {
  /** dist/hot-paths.wasm */
  readonly hotPaths: WebAssembly.Module;
  /** dist/decoders.wasm */
  readonly decoders: WebAssembly.Module;
}

let provided: ProvidedModules | undefined;

/** Hands in the modules; from then on they are taken wherever the inlined bytes would be compiled. */
export function provideModules(modules: ProvidedModules): void {
  provided = modules;
}

/** What was handed in, if anything was. */
export function providedModules(): ProvidedModules | undefined {
  return provided;
}
