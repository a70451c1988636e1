/** The compiled modules of assembly/: made from inlined bytes, instantiated by `@assemblyscript/loader`. */
import { instantiateSync } from "@assemblyscript/loader";
import { describeType } from "../base/describe.js";

/** The bytes of an inlined module. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  if (typeof Buffer === "function") return Buffer.from(text, "base64");
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// The import of an unshared memory as asc writes it: section 2, 15 bytes, one import, "env" "memory", kind
// memory, limits without a maximum, from 0 pages. Shared memory differs in these bytes alone (WebAssembly
// core specification, 5.5.5 and 5.3.8; the threads proposal for flag 3).
const IMPORT_NAME = [0x01, 0x03, 0x65, 0x6e, 0x76, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02];
const UNSHARED_IMPORT = [0x02, 0x0f, ...IMPORT_NAME, 0x00, 0x00];
const SHARED_IMPORT = [0x02, 0x12, ...IMPORT_NAME, 0x03, 0x00, 0x80, 0x80, 0x04];

/**
 * True for a SharedArrayBuffer. By its tag: a page that is not cross-origin isolated has no name for the class, and
 * still gets one out of a shared WebAssembly.Memory.
 */
export function isSharedBuffer(buffer: unknown): buffer is SharedArrayBuffer {
  return Object.prototype.toString.call(buffer) === "[object SharedArrayBuffer]";
}

/** The module's bytes with its memory import made shared, 0 to 65536 pages. */
export function withSharedMemoryImport(module: Uint8Array): Uint8Array<ArrayBuffer> {
  const at = module.findIndex((_, start) => UNSHARED_IMPORT.every((byte, i) => module[start + i] === byte));
  if (at < 0) throw new TypeError("the module has no memory import of the expected form");
  const behind = at + UNSHARED_IMPORT.length;
  const patched = new Uint8Array(module.length + SHARED_IMPORT.length - UNSHARED_IMPORT.length);
  patched.set(module.subarray(0, at));
  patched.set(SHARED_IMPORT, at);
  patched.set(module.subarray(behind), at + SHARED_IMPORT.length);
  return patched;
}

/** A compiled module of assembly/, and its instances: one per memory. */
export class AssemblyModule<E extends Record<string, unknown>> {
  readonly #module: WebAssembly.Module;
  readonly #base64: string;
  #shared: WebAssembly.Module | undefined;
  readonly #instances = new WeakMap<WebAssembly.Memory, E>();

  /**
   * Compiles, unless a module is handed in. Throws what WebAssembly throws where that is forbidden, or SIMD is missing.
   *
   * @param base64 the module's bytes
   * @param module the same, compiled
   */
  constructor(base64: string, module?: WebAssembly.Module) {
    this.#base64 = base64;
    this.#module = module ?? new WebAssembly.Module(decodeBase64(base64));
  }

  /**
   * The exports over `memory`, as raw functions: the loader's own wrappers cost a closure a call.
   *
   * @throws WebAssembly.CompileError for a shared memory where compiling from bytes is forbidden: it needs a module of
   *   its own
   */
  over(memory: WebAssembly.Memory): E {
    const known = this.#instances.get(memory);
    if (known !== undefined) return known;
    let module = this.#module;
    if (isSharedBuffer(memory.buffer)) {
      this.#shared ??= new WebAssembly.Module(withSharedMemoryImport(decodeBase64(this.#base64)));
      module = this.#shared;
    }
    const exports = instantiateSync(module, { env: { memory } }).instance.exports as E;
    this.#instances.set(memory, exports);
    return exports;
  }
}

/** A module of assembly/, and the function that users choose with whether it runs. */
interface ModuleDescription {
  readonly base64: string;
  /** The module's name in the package. */
  readonly name: string;
  /** Exports by which a module of this version is known. */
  readonly exports: readonly string[];
  readonly chooser: string;
}

/** A module of assembly/ that is compiled when it is first needed, and the choice whether it runs, or JavaScript. */
export class ChosenModule<E extends Record<string, unknown>> {
  readonly #is: ModuleDescription;
  #chosen: AssemblyModule<E> | "javascript" | undefined;
  #given: WebAssembly.Module | undefined;

  constructor(description: ModuleDescription) {
    this.#is = description;
  }

  /** The module; undefined where JavaScript runs. The first read compiles. */
  get module(): AssemblyModule<E> | undefined {
    if (this.#chosen === undefined) {
      try {
        this.use("wasm");
      } catch {
        // No WebAssembly, no SIMD, or a Content-Security-Policy that forbids it.
        this.#chosen = "javascript";
      }
    }
    return this.#chosen === "javascript" ? undefined : this.#chosen;
  }

  get implementation(): "wasm" | "javascript" {
    return this.module === undefined ? "javascript" : "wasm";
  }

  use(choice: "auto" | "wasm" | "javascript" | WebAssembly.Module): void {
    const { base64, name, exports, chooser } = this.#is;
    const isModule = typeof WebAssembly === "object" && choice instanceof WebAssembly.Module;
    if (choice === "auto") this.#chosen = undefined;
    else if (choice === "javascript") this.#chosen = "javascript";
    else if (choice === "wasm" || isModule) {
      const given = isModule ? choice : this.#given;
      const found = given && new Set(WebAssembly.Module.exports(given).map((each) => each.name));
      const missing = exports.filter((each) => found?.has(each) === false);
      if (missing.length > 0) {
        throw new TypeError(`the module is not ${name} of this version: it lacks ${missing.join(", ")}`);
      }
      this.#chosen = new AssemblyModule<E>(base64, given);
      this.#given = given;
    } else {
      const choices = `"auto", "wasm", "javascript" or a WebAssembly.Module`;
      throw new TypeError(`${chooser} takes ${choices}, got ${describeType(choice)}`);
    }
  }

  /** The exports over `memory`; undefined where JavaScript runs. */
  over(memory: WebAssembly.Memory): E | undefined {
    try {
      return this.module?.over(memory);
    } catch {
      // A shared memory needs a module of its own, made from bytes: not where compiling is forbidden.
      return undefined;
    }
  }
}
