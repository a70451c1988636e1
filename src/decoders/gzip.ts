/** gzip (RFC 1952): members of deflate, each with a CRC-32 and a size. */
import type { Task } from "../task/task.js";
import { crc32Check } from "./check.js";
import { checkGzipTrailer, readGzipHeader } from "./gzip-header.js";
import type { Workspace } from "./workspace.js";

/** One member. */
export function* decodeGzip(w: Workspace): Task<void> {
  readGzipHeader(w);
  const start = w.produced;
  const { exports, state, work } = w;
  const check = crc32Check(w, start);
  exports.inflatePrepare(work);
  exports.inflateBegin(state);
  yield* w.pump(
    () => exports.inflateRun(state, work),
    w.input.length,
    start,
    "a member",
    () => check.update(w.produced),
  );
  checkGzipTrailer(w, w.produced - start, (at) => check.matches(w.produced, at));
}
