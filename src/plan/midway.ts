/** Loads that fail midway: what was imported is taken back, and the error says what became of it. */
import { messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { wrapSourceError } from "../importers/errors.js";
import type { ImportTransaction } from "../importers/importer.js";
import { refusalCode } from "./import-step.js";
import type { PagesStep } from "./plan.js";
import { CallbackFailure } from "./progress.js";

/**
 * Takes back what was imported, and gives the error of the load.
 *
 * @param step the step that failed, if it was one of pages
 * @param cause what it failed with
 */
export function failedMidway(
  step: PagesStep | undefined,
  cause: unknown,
  transaction: ImportTransaction | undefined,
): unknown {
  const fate = takenBack(transaction);
  if (cause instanceof CallbackFailure) return cause.thrown;
  if (!(cause instanceof DirectBootError)) return cause;
  if (step === undefined) return withFate(cause, cause.details, fate);
  if (cause.code === "ABORTED") return withFate(cause, `${step.tag}: the load was aborted`, fate);
  // A region that was read in chunks has named its failure already, without the fate of its pages.
  const first = cause.code === "REGION_READ" && cause.cause instanceof DirectBootError ? cause.cause : cause;
  const code = refusalCode(step.data) === "REGION_IMPORT_PAGES" ? "REGION_READ" : "SOURCE_READ";
  const named = wrapSourceError(code, step.tag, first, fate);
  if (named !== first) return named;
  const isReading = /^(SOURCE|DECOMPRESS)_/.test(first.code);
  return withFate(
    first,
    isReading ? `${step.tag}: reading failed midway: ${first.details}` : first.details,
    fate,
  );
}

/** Rolls back, and says in words what became of the pages that were written; "" if nobody could take them back. */
function takenBack(transaction: ImportTransaction | undefined): string {
  if (transaction === undefined) return "";
  try {
    transaction.rollback();
    return "; every page that was written is zero again";
  } catch (cause) {
    const said = cause instanceof DirectBootError ? cause.details : messageOf(cause);
    return `; not every page that was written is zero again: ${said}`;
  }
}

/** The same code and cure, with the fate of the pages. */
function withFate(cause: DirectBootError, details: string, fate: string): DirectBootError {
  if (fate === "" && details === cause.details) return cause;
  // The reason of the signal is the cause, at whatever depth it was seen.
  const underneath = cause.code === "ABORTED" ? cause.cause : cause;
  return new DirectBootError(cause.code, `${details}${fate}`, { cause: underneath, cure: cause.cure });
}
