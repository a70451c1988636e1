import { hasMethods, messageOf } from "../base/describe.js";
import { DirectBootError, type DirectBootErrorCode } from "../base/errors.js";

/** Codes that a source throws while it is being read. */
const SOURCE_FAILURES: ReadonlySet<DirectBootErrorCode> = new Set(["SOURCE_READ", "SOURCE_SHORT"]);

/** Throws if an importer gave a promise: nobody would wait for it, and what it fails with would be lost. */
export function refusePromise(given: unknown, code: DirectBootErrorCode, what: string): void {
  if (!hasMethods(given, ["then"])) return;
  Promise.resolve(given).catch(() => {});
  throw new DirectBootError(code, `${what}: the importer gave a promise, which is not waited for`, {
    cure: "import at once; keep what is to be awaited, and await it when the load is over",
  });
}

/** Calls an importer. An error of its own becomes the cause of one with `code`; a promise is refused with `code`, too. */
export function callImporter(act: () => unknown, code: DirectBootErrorCode, what: string): void {
  let given: unknown;
  try {
    given = act();
  } catch (cause) {
    throw wrapImporterError(code, what, cause);
  }
  refusePromise(given, code, what);
}

/** Wraps a value that an importer threw in an error with `code`; a DirectBootError stays as it is. */
export function wrapImporterError(code: DirectBootErrorCode, what: string, cause: unknown): DirectBootError {
  if (cause instanceof DirectBootError) return cause;
  const said = messageOf(cause);
  return new DirectBootError(code, `${what}: the importer refused: ${said}`, { cause });
}

/** A failure of a source in the middle of a load, as the error of what was being imported; others as they are. */
export function wrapSourceError(
  code: DirectBootErrorCode,
  what: string,
  cause: unknown,
  after = "",
): unknown {
  if (!(cause instanceof DirectBootError) || !SOURCE_FAILURES.has(cause.code)) return cause;
  // The cure is the source's: it knows whether it is short, broken or closed.
  const { details, cure } = cause;
  return new DirectBootError(code, `${what}: reading failed midway: ${details}${after}`, { cause, cure });
}
