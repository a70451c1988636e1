import { BytesSource } from "./bytes.js";
import { FileSource } from "./file.js";
import { type ByteInput, guardSource, isSource, notBytes, type Source } from "./source.js";

/** An input as a source. */
export interface OpenSource {
  readonly source: Source;
  /** Closes the file, if opening it took one. */
  readonly close: () => void;
}

const nothing = (): void => {};

/**
 * Makes a source of any input. Files opened here are closed by the result's `close`; a source of the
 * caller's stays the caller's.
 *
 * @throws TypeError if `input` is none of {@link ByteInput}
 * @throws DirectBootError SOURCE_NOT_FOUND if a file can't be opened
 */
export function openSource(input: ByteInput, name: string): OpenSource {
  const keep = (source: Source): OpenSource => ({ source, close: nothing });
  if (input instanceof Uint8Array) return keep(new BytesSource(input, name));
  if (input instanceof ArrayBuffer) return keep(new BytesSource(new Uint8Array(input), name));
  if (typeof input === "string" || input instanceof URL) {
    const file = new FileSource(input);
    return { source: file, close: () => file.close() };
  }
  if (isSource(input)) return keep(guardSource(input));
  throw notBytes(input, name);
}
