/** bzip2: streams of blocks, each with a CRC, and one over those. */
import type { Task } from "../task/task.js";
import { BAD_CHECKSUM, DONE, FULL, PAUSED, STEP_BYTES, type Workspace } from "./workspace.js";

export const BZIP2_MAGIC = [0x42, 0x5a, 0x68]; // "BZh"
const HEADER_BYTES = 4;
/** Positions in the input are counted in bits of 32 bits. */
const MOST_INPUT_BYTES = 2 ** 29 - 65536;

/** One stream. */
export function* decodeBzip2(w: Workspace): Task<void> {
  w.needMagic(BZIP2_MAGIC, HEADER_BYTES, "bzip2", "the stream's header");
  const level = w.u8(w.position + 3) - 0x30;
  if (level < 1 || level > 9) throw w.corrupt("there is no bzip2 magic number");
  if (w.input.length > MOST_INPUT_BYTES) {
    throw w.unsupported(`the input is longer than ${MOST_INPUT_BYTES} bytes`);
  }
  w.position += HEADER_BYTES;
  const { exports, state, work } = w;
  exports.bzip2Begin(state, work);
  // The whole input is in the window, and stays there: blocks begin at any bit.
  const base = w.position;
  w.load(w.input.length);
  w.room(0, 0);
  while (true) {
    const status = exports.bzip2Header(state, work, level);
    w.update(base);
    if (status === PAUSED) return;
    if (status === BAD_CHECKSUM) throw w.badChecksum("the stream");
    if (status !== DONE) throw w.failure(status, "a block");
    while (true) {
      w.room(STEP_BYTES, 0, "full");
      const output = exports.bzip2Run(state, work);
      w.update(base);
      if (output === DONE) break;
      if (output !== FULL || w.produced >= w.limit) throw w.failure(output, "a block");
      yield* w.step();
    }
    yield* w.step();
  }
}
