/** A compressed file as the bytes that it unpacks to, which are made where they are to lie. */
import { DirectBootError } from "../base/errors.js";
import { checkSourceRange, type MadeSource, type MemoryPlace, needsNoGuard } from "../sources/source.js";
import type { CompressionFormat, Decoders } from "./decoding.js";

/** What is unpacked, and to how many bytes at most. */
export interface UnpackedInput {
  readonly name: string;
  readonly format: CompressionFormat;
  /** The compressed bytes. They must not change as long as the source is used. */
  readonly packed: Uint8Array;
  readonly expectedBytes: number | undefined;
  readonly allowTrailing: boolean;
  /** The first bytes of what comes out, which were looked at already. */
  readonly head: Uint8Array;
  /** Bytes of the source: what comes out, then zeros. More coming out is DECOMPRESS_TOO_LARGE. */
  readonly byteLength: number;
}

/**
 * A source of `byteLength` bytes: what comes out of the decoder, then zeros. Guest memory that was made by
 * `GuestMemory.create` has it made in place; for any other target it is unpacked to a buffer first.
 */
export function unpackedSource(decoders: Decoders, input: UnpackedInput): MadeSource {
  const { name, format, packed, expectedBytes, allowTrailing, head, byteLength } = input;
  const range = { name, byteLength };
  const options = { maximumBytes: byteLength, expectedBytes, allowTrailing };
  let whole: Uint8Array | undefined;
  const readSync = (target: Uint8Array, offset: number): void => {
    checkSourceRange(range, offset, target.byteLength);
    if (offset + target.byteLength <= head.byteLength) {
      target.set(head.subarray(offset, offset + target.byteLength));
      return;
    }
    whole ??= decoders.decompress(format, packed, options);
    const own = whole.subarray(offset, offset + target.byteLength);
    target.set(own);
    target.fill(0, own.byteLength);
  };
  const source: MadeSource = {
    ...range,
    readSync,
    read: async (target, offset) => readSync(target, offset),
    makeInto: function* (place: MemoryPlace) {
      const buffer = place.memory.buffer;
      const steps = decoders.decodeStepsInto(format, packed, place, options);
      let made = 0;
      let isDone = false;
      try {
        while (true) {
          if (place.memory.buffer !== buffer) {
            throw new DirectBootError(
              "GUEST_MEMORY_DETACHED",
              `${name}: the memory grew while it was filled`,
            );
          }
          const step = steps.next();
          if (step.done === true) {
            isDone = true;
            const produced = step.value.byteLength;
            // Memory that was made for the guest may have been used before.
            new Uint8Array(buffer, place.offset + produced, place.byteLength - produced).fill(0);
            return;
          }
          yield step.value.produced - made;
          made = step.value.produced;
        }
      } finally {
        // What it left in its scratch is cleared.
        if (!isDone) steps.return({ byteLength: 0, consumed: 0 });
      }
    },
  };
  needsNoGuard(source);
  return source;
}
