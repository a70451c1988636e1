/**
 * What the platforms' own carriers of bytes look like. They are told by their shape: a stream of another realm, a
 * polyfill's Blob and a FileHandle of any runtime are all taken, and the types need neither DOM nor @types/node.
 */

/** What `open` of node:fs/promises gives. The caller closes it. */
export interface FileHandle {
  readonly fd: number;
  stat(...args: never[]): Promise<unknown>;
  read(...args: never[]): Promise<unknown>;
}

/** A Blob; a File has a name, too. */
export interface BlobLike {
  readonly size: number;
  readonly type: string;
  readonly name?: string;
  slice(start?: number, end?: number): { arrayBuffer(): Promise<ArrayBuffer> };
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** What {@link ByteStreamReader.read} gives: a chunk, or that there are no more. */
export interface ByteStreamResult {
  readonly done: boolean;
  readonly value?: Uint8Array | undefined;
}

/** A ReadableStream's default reader. */
export interface ByteStreamReader {
  read(): Promise<ByteStreamResult>;
  cancel(reason?: unknown): Promise<void>;
  releaseLock(): void;
}

/** A ReadableStream of Uint8Array. */
export interface ByteStream {
  readonly locked: boolean;
  getReader(): ByteStreamReader;
  cancel(reason?: unknown): Promise<void>;
}

/** A Response of fetch. */
export interface ResponseLike {
  readonly ok: boolean;
  readonly status: number;
  readonly statusText: string;
  readonly url: string;
  readonly type: string;
  readonly bodyUsed: boolean;
  readonly headers: { get(name: string): string | null };
  readonly body: ByteStream | null;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** True if `value` is an object with a function under each of `methods`. */
function hasMethods(value: unknown, methods: readonly string[]): value is object {
  return (
    typeof value === "object" &&
    value !== null &&
    methods.every((name) => name in value && typeof Reflect.get(value, name) === "function")
  );
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
