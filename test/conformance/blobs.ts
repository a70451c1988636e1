/** The values of golden's parameters: blobs, integers, ranges. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Unusable } from "./json.js";

export const PAGE_BYTES = 4096;

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** "0x1f" or "31". */
export function parseInteger(text: string, what: string): bigint {
  if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) throw new Unusable(`${what}: ${text} is no integer`);
  return BigInt(text);
}

/** "start,end" or "start,end,vnode". */
export function parseRange(text: string, what: string): { start: bigint; end: bigint; vnode?: number } {
  const [start, end, vnode, ...rest] = text.split(",");
  if (start === undefined || end === undefined || rest.length > 0) {
    throw new Unusable(`${what}: ${text} is no range`);
  }
  const range = { start: parseInteger(start, what), end: parseInteger(end, what) };
  return vnode === undefined ? range : { ...range, vnode: Number(parseInteger(vnode, what)) };
}

function parseByte(text: string | undefined, what: string): number {
  const byte = parseInteger(text ?? "", what);
  if (byte > 255n) throw new Unusable(`${what}: ${text} is no byte`);
  return Number(byte);
}

// A blob of golden is some hundred KiB; a length beyond this is a mistake in the folder, not a test.
const MOST_BLOB_BYTES = 1n << 30n;

function parseLength(text: string | undefined, what: string): number {
  const length = parseInteger(text ?? "", what);
  if (length > MOST_BLOB_BYTES) throw new Unusable(`${what}: ${text} bytes are too many`);
  return Number(length);
}

/** Byte i = (i*7 + (i>>8)*13 + seed) & 255, as the generator of golden/ makes it. */
function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + seed) & 255);
}

/** The bytes of `path`, `hex:..`, `fill:LEN:BYTE`, `pattern:LEN:SEED` or `cat:A|B|..`; undefined for `none`. */
export function readBlob(root: string, text: string, what: string): Uint8Array | undefined {
  if (text === "none") return undefined;
  const colon = text.indexOf(":");
  if (colon < 0) {
    try {
      // A copy in a buffer of its own: a small Buffer is a window on node's pool.
      return new Uint8Array(readFileSync(join(root, text)));
    } catch (cause) {
      throw new Unusable(`${what}: ${cause instanceof Error ? cause.message : cause}`);
    }
  }
  const kind = text.slice(0, colon);
  const rest = text.slice(colon + 1);
  switch (kind) {
    case "hex":
      if (!/^([0-9a-f]{2})*$/i.test(rest)) throw new Unusable(`${what}: ${text} is no hex`);
      return new Uint8Array(Buffer.from(rest, "hex"));
    case "fill":
    case "pattern": {
      const [length, byte, ...more] = rest.split(":");
      if (more.length > 0) throw new Unusable(`${what}: ${text} has too many parts`);
      const bytes = parseLength(length, what);
      const seed = parseByte(byte, what);
      return kind === "fill" ? new Uint8Array(bytes).fill(seed) : pattern(bytes, seed);
    }
    case "cat": {
      const parts = rest.split("|").map((part) => {
        const bytes = readBlob(root, part, what);
        if (bytes === undefined) throw new Unusable(`${what}: ${text} joins none`);
        return bytes;
      });
      return new Uint8Array(Buffer.concat(parts));
    }
    default:
      throw new Unusable(`${what}: unknown blob kind ${kind}:`);
  }
}
