/** A compressed file as the bytes that it unpacks to, which are made where they are to lie. */
import { DirectBootError } from "../base/errors.js";
import {
  checkSourceRange,
  checkTarget,
  type MadeSource,
  type MemoryPlace,
  needsNoGuard,
} from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import type { Decoders, PackedRange } from "./unpacking.js";

/** The packed bytes, and how many bytes they may become. */
export interface UnpackedInput extends Pick<PackedRange, "format" | "expectedBytes" | "allowTrailing"> {
  readonly name: string;
  /** The compressed bytes. They must not change as long as the source is used. */
  readonly packed: Uint8Array;
  /** The first bytes of what comes out, which were looked at already. */
  readonly head: Uint8Array;
  /** Bytes of the source: what comes out, then zeros. More coming out is DECOMPRESS_TOO_LARGE. */
  readonly byteLength: number;
  /** Throws if the decompressed size is not allowed. */
  readonly checkLength: (byteLength: number) => void;
}

/**
 * A source of `byteLength` bytes: what comes out of the decoder, then zeros. Guest memory that was made by
 * `GuestMemory.create` has it made in place; for any other target it is unpacked to a buffer first.
 */
export function unpackedSource(decoders: Decoders, input: UnpackedInput): MadeSource {
  const { name, format, packed, expectedBytes, allowTrailing, head, byteLength, checkLength } = input;
  const range = { name, byteLength };
  const options = { maxDecompressedSize: byteLength, expectedBytes, allowTrailing };
  let whole: Uint8Array | undefined;
  const unpackWhole = function* (): Task<void> {
    const { output } = yield* decoders.tasks.decode(format, packed, options, false);
    checkHead(output);
    checkLength(output.byteLength);
    whole = output;
  };
  /** The plan was made by the head: what comes out must begin with it. */
  const checkHead = (made: Uint8Array): void => {
    if (head.every((byte, index) => made[index] === byte)) return;
    throw new DirectBootError(
      "DECOMPRESS_CORRUPT",
      `${name}: ${format}: its first bytes change as it is unpacked`,
    );
  };
  /** Fills `target` from what is there; false if it is not there yet. */
  const copy = (target: Uint8Array, offset: number): boolean => {
    checkSourceRange(range, offset, target.byteLength);
    const from = whole ?? (offset + target.byteLength <= head.byteLength ? head : undefined);
    if (from === undefined) return false;
    const own = from.subarray(offset, offset + target.byteLength);
    target.set(own);
    target.fill(0, own.byteLength);
    return true;
  };
  const readTask = function* (target: Uint8Array, offset: number): Task<void> {
    const { byteLength: length } = target;
    if (copy(target, offset)) return;
    yield* unpackWhole();
    // Others may have had turns meanwhile, in which the target may have gone away.
    checkTarget(name, target, length);
    copy(target, offset);
  };
  const source: MadeSource = {
    ...range,
    readSync: (target, offset) => runSync(readTask(target, offset)),
    read: (target, offset, signal) => runAsync(readTask(target, offset), signal),
    makeInto: function* (place: MemoryPlace, onMade?: (byteLength: number) => void) {
      const { buffer } = place.memory;
      let made = 0;
      const produced = yield* decoders.tasks.decodeInto(format, packed, place, options, (progress) => {
        onMade?.(progress.produced - made);
        made = progress.produced;
      });
      const output = new Uint8Array(buffer, place.offset, place.byteLength);
      checkHead(output.subarray(0, produced));
      checkLength(produced);
      // Memory that was made for the guest may have been used before.
      output.fill(0, produced);
      onMade?.(byteLength - made);
    },
  };
  needsNoGuard(source);
  return source;
}
