import type { Task } from "../task/task.js";
import { BlobSource } from "./blob.js";
import { BytesSource } from "./bytes.js";
import { FileSource } from "./file.js";
import { isBlob, isByteStream, isFileHandle, isResponse } from "./platform-shapes.js";
import { responseSource } from "./response.js";
import { type AsyncByteInput, guardSource, isSource, notBytes, type Source } from "./source.js";
import { type StreamOptions, StreamSource } from "./stream.js";

/** An input as a source. */
export interface OpenSource {
  readonly source: Source;
  /** Closes the file, if opening it took one; ends the stream, if it was made here. */
  readonly close: () => void;
}

/** Throws TypeError if `input` is none of {@link AsyncByteInput}. */
export function checkByteInput(input: unknown, name: string): void {
  if (input instanceof Uint8Array || input instanceof ArrayBuffer || input instanceof URL) return;
  if (typeof input === "string" || isSource(input) || isFileHandle(input)) return;
  if (!isResponse(input) && !isBlob(input) && !isByteStream(input)) throw notBytes(input, name);
}

/** A view of a buffer; of one that is detached, which has no bytes, and no view either. */
function bytesOfArrayBuffer(buffer: ArrayBuffer): Uint8Array {
  return buffer.byteLength === 0 ? new Uint8Array(0) : new Uint8Array(buffer);
}

const nothing = (): void => {};

/**
 * Makes a source of any input. Files and streams opened here are closed by the result's `close`; a source or FileHandle
 * of the caller's stays the caller's. An input that can only be read asynchronously becomes a source without readSync, which the
 * synchronous functions refuse by name.
 *
 * @param options how a Response or ReadableStream is read
 * @throws TypeError if `input` is none of {@link AsyncByteInput}
 * @throws DirectBootError SOURCE_NOT_FOUND if a file can't be opened; SOURCE_READ for a response without success or
 *   without a body to read, or a stream that has a reader
 */
export function openSource(
  input: AsyncByteInput,
  name: string,
  options: Pick<StreamOptions, "spoolLimit"> = {},
): OpenSource {
  const keep = (source: Source): OpenSource => ({ source, close: nothing });
  const stream = (source: StreamSource): OpenSource => ({ source, close: () => source.cancel() });
  if (input instanceof Uint8Array) return keep(new BytesSource(input, name));
  if (input instanceof ArrayBuffer) return keep(new BytesSource(bytesOfArrayBuffer(input), name));
  if (typeof input === "string" || input instanceof URL) {
    const file = new FileSource(input);
    return { source: file, close: () => file.close() };
  }
  if (isSource(input)) return keep(guardSource(input));
  if (isFileHandle(input)) return keep(new FileSource(input, name));
  if (isResponse(input)) return stream(responseSource(input, { ...options, name }));
  if (isBlob(input)) return keep(new BlobSource(input, name));
  if (isByteStream(input)) return stream(new StreamSource(input, { ...options, name }));
  throw notBytes(input, name);
}

/** Opens inputs for the time of `use`; null and undefined stay what they are. Messages call an input by its name. */
export function* withSources<
  Inputs extends Readonly<Record<string, AsyncByteInput | null | undefined>>,
  Result,
>(
  inputs: Inputs,
  use: (
    sources: {
      readonly [Name in keyof Inputs]: Source | Extract<Inputs[Name], null | undefined>;
    },
  ) => Task<Result>,
): Task<Result> {
  const opened: [name: string, source: OpenSource][] = [];
  try {
    for (const [name, input] of Object.entries(inputs)) {
      if (input != null) opened.push([name, openSource(input, name)]);
    }
    const sources = Object.fromEntries(opened.map(([name, { source }]) => [name, source]));
    return yield* use(sources as Parameters<typeof use>[0]);
  } finally {
    for (const [, { close }] of opened) close();
  }
}
