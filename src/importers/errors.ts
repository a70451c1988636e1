import { DirectBootError, type DirectBootErrorCode } from "../base/errors.js";

/** What an importer threw, as our error: ours as it is, anybody else's with `code` and as the cause. */
export function wrapImporterError(code: DirectBootErrorCode, what: string, cause: unknown): DirectBootError {
  if (cause instanceof DirectBootError) return cause;
  const said = cause instanceof Error ? cause.message : String(cause);
  return new DirectBootError(code, `${what}: the importer refused: ${said}`, { cause });
}
