/**
 * The shapes of the platforms' own carriers of bytes. They are told by their shape: a stream of another realm, a
 * polyfill's Blob and a FileHandle of any runtime are all taken, and the types need neither DOM nor @types/node.
 */
import { hasMethods } from "../base/describe.js";

/** The result of `open` of node:fs/promises. The caller closes it. */
export interface FileHandle {
  /** The file descriptor. */
  readonly fd: number;
  /** Tells the length of the file. */
  stat(...args: never[]): Promise<unknown>;
  /** Reads at a position. */
  read(...args: never[]): Promise<unknown>;
}

/** A Blob; a File has a name, too. */
export interface BlobLike {
  /** Bytes. */
  readonly size: number;
  /** Its MIME type. */
  readonly type: string;
  /** A File's name. */
  readonly name?: string;
  /** A part of it, read when it is asked for. */
  slice(start?: number, end?: number): Pick<BlobLike, "arrayBuffer">;
  /** All of its bytes. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** The result of {@link ByteStreamReader.read}: a chunk, or that there are no more. */
export interface ByteStreamResult {
  /** True at the end. */
  readonly done: boolean;
  /** The chunk. */
  readonly value?: Uint8Array | undefined;
}

/** A ReadableStream's default reader. */
export interface ByteStreamReader {
  /** The next chunk. */
  read(): Promise<ByteStreamResult>;
  /** Ends the stream: nobody reads on. */
  cancel(reason?: unknown): Promise<void>;
  /** Gives the stream free for another reader. */
  releaseLock(): void;
}

/** A ReadableStream of Uint8Array. */
export interface ByteStream {
  /** True if somebody else reads it. */
  readonly locked: boolean;
  /** Takes the stream. */
  getReader(): ByteStreamReader;
  /** Ends the stream: nobody reads it. */
  cancel(reason?: unknown): Promise<void>;
}

/** A Response's Headers. */
export interface HeadersLike {
  /** A header's value. */
  get(name: string): string | null;
}

/** A Response of fetch. */
export interface ResponseLike {
  /** True for a status of success. */
  readonly ok: boolean;
  /** The HTTP status. */
  readonly status: number;
  /** The status in words. */
  readonly statusText: string;
  /** Where it comes from. */
  readonly url: string;
  /** "opaque" is a response that can't be read. */
  readonly type: string;
  /** True if somebody has read the body. */
  readonly bodyUsed: boolean;
  /** Its headers: Content-Length and Content-Encoding are looked at. */
  readonly headers: HeadersLike;
  /** The body as a stream. */
  readonly body: ByteStream | null;
  /** The whole body. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** True for a FileHandle of node:fs/promises. */
export function isFileHandle(value: unknown): value is FileHandle {
  return hasMethods(value, ["stat", "read"]) && "fd" in value && typeof value.fd === "number";
}

/** True for a Blob or File. */
export function isBlob(value: unknown): value is BlobLike {
  return (
    hasMethods(value, ["slice", "arrayBuffer"]) &&
    "size" in value &&
    typeof value.size === "number" &&
    "type" in value &&
    typeof value.type === "string"
  );
}

/** True for a ReadableStream. */
export function isByteStream(value: unknown): value is ByteStream {
  return hasMethods(value, ["getReader", "cancel"]) && "locked" in value;
}

/** True for a Response. */
export function isResponse(value: unknown): value is ResponseLike {
  return (
    hasMethods(value, ["arrayBuffer"]) &&
    "status" in value &&
    typeof value.status === "number" &&
    "headers" in value &&
    hasMethods(value.headers, ["get"]) &&
    "body" in value
  );
}

/** True for a Uint8Array, of this realm or another. */
export function isUint8Array(value: unknown): value is Uint8Array {
  return (
    value instanceof Uint8Array ||
    (ArrayBuffer.isView(value) && Object.prototype.toString.call(value) === "[object Uint8Array]")
  );
}
