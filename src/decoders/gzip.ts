/** gzip (RFC 1952): members of deflate, each with a CRC-32 and a size. */
import type { Task } from "../task/task.js";
import { crc32Check } from "./check.js";
import { checkGzipSize, readGzipHeader } from "./gzip-header.js";
import { DONE, NEED_INPUT, PAUSED, STEP_BYTES, type Workspace } from "./workspace.js";

/** One member. */
export function* decodeGzip(w: Workspace): Task<void> {
  readGzipHeader(w);
  const start = w.produced;
  const { exports, state, work } = w;
  const check = crc32Check(w, start);
  exports.inflateBegin(state, work);
  let status: number;
  do {
    w.load(w.input.length);
    w.room(STEP_BYTES, start);
    status = exports.inflateRun(state, work);
    w.update();
    if (status !== DONE && status !== NEED_INPUT && status !== PAUSED) throw w.failure(status, "a member");
    check.update();
    yield* w.step();
  } while (status !== DONE);
  check.finish(4, "a member");
  checkGzipSize(w, start);
}
