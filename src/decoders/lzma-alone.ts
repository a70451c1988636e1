/** LZMA with a header of 13 bytes (lzma-file-format.txt of xz): the output of `xz --format=lzma` and CONFIG_KERNEL_LZMA. */
import type { Task } from "../task/task.js";
import { DONE, FULL, NEED_INPUT, PAUSED, STEP_BYTES, type Workspace } from "./workspace.js";

const HEADER_BYTES = 13;
/** Bytes that the range coder reads before the first symbol. */
const RANGE_CODER_BYTES = 5;
const MOST_PROPERTIES = 224;
const UNKNOWN_SIZE = 0xffff_ffff;
/** liblzma's LZMA_LCLP_MAX; the table of probabilities grows with 2^(lc + lp). */
const MOST_LITERAL_BITS = 4;

/** Sets lc, lp and pb from their byte. */
export function setProperties(w: Workspace, properties: number, at: number): void {
  if (properties > MOST_PROPERTIES) throw w.corrupt(`the LZMA properties are ${properties}`, at);
  const lc = properties % 9;
  const lp = Math.floor(properties / 9) % 5;
  const pb = Math.floor(properties / 45);
  if (lc + lp > MOST_LITERAL_BITS) {
    throw w.unsupported(`lc + lp is ${lc + lp}, more than ${MOST_LITERAL_BITS}`, at);
  }
  w.exports.lzmaReset(w.state, w.work, lc, lp, pb);
}

/** One stream. */
export function* decodeLzma(w: Workspace): Task<void> {
  w.need(HEADER_BYTES, "the header");
  setProperties(w, w.u8(w.position), w.position);
  const isUnknown = w.u32(w.position + 5) === UNKNOWN_SIZE && w.u32(w.position + 9) === UNKNOWN_SIZE;
  const size = isUnknown ? undefined : w.u64(w.position + 5);
  w.checkDeclared(size);
  w.position += HEADER_BYTES;
  w.need(RANGE_CODER_BYTES, "the stream");

  const { exports, state } = w;
  const start = w.produced;
  const end = w.input.length;
  exports.lzmaPosition(state, w.out);
  w.load(end);
  w.room(STEP_BYTES, start);
  if (exports.lzmaBegin(state) !== DONE) throw w.corrupt("the stream does not begin with a zero");
  w.update();
  while (true) {
    w.load(end);
    const left = size === undefined ? undefined : start + size - w.produced;
    // A stream of known size may still have an end marker: it follows if the range coder's code is not 0.
    if (left === undefined || left > STEP_BYTES) w.room(STEP_BYTES, start);
    else w.room(left, start, left > 0 ? "pause" : "full");
    if (left === 0 && exports.lzmaCode(state) === 0) return;
    const status = exports.lzmaRun(state);
    w.update();
    if (status === DONE) {
      w.checkProduced(start, size, "the stream");
      if (exports.lzmaCode(state) !== 0) throw w.corrupt("the stream does not end properly");
      return;
    }
    if (status !== NEED_INPUT && status !== PAUSED) {
      if (status === FULL && left !== undefined) throw w.corrupt("the stream goes on behind its end");
      throw w.failure(status, "the stream");
    }
    yield* w.step();
  }
}
