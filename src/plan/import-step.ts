/** Carries one step of a plan out, by the way that its importer knows; and what becomes of a load that fails midway. */
import { PAGE_BYTES } from "../base/address.js";
import { messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { importChunks } from "../importers/chunk-buf.js";
import { callImporter, refusePromise, wrapImporterError, wrapSourceError } from "../importers/errors.js";
import type { ImageLoad, ImportTransaction, VpRegister } from "../importers/importer.js";
import { fill } from "../sources/reading.js";
import { type Source, toSyncSource } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { generate } from "../wasm/hot-paths.js";
import { sourceOf } from "./check.js";
import type { PageData, PagesStep } from "./plan.js";
import { CallbackFailure } from "./progress.js";

type SourceData = Extract<PageData, { kind: "source" }>;

const CHUNK_BYTES = 64 * 1024;

/** The upstream variant that an importer's refusal becomes. */
export function refusalCode(data: PageData): "REGION_IMPORT_PAGES" | "IMPORTER" {
  return data.kind === "source" && data.chunked ? "REGION_IMPORT_PAGES" : "IMPORTER";
}

/** Imports the pages of `step`. */
export function* importStep<R extends VpRegister>(
  step: PagesStep,
  sources: readonly Source[],
  importer: ImageLoad<R>,
): Task<void> {
  const { pageBase, pageCount, tag, acceptance, data } = step;
  const importPages = (bytes: Uint8Array): void =>
    callImporter(
      () => importer.importPages(pageBase, pageCount, tag, acceptance, bytes),
      refusalCode(data),
      tag,
    );
  if (data.kind === "bytes") {
    importPages(data.bytes);
  } else if (data.kind === "source") {
    const source = sourceOf(data, sources, tag);
    if (data.length > 0 && (importer.importSource ?? importer.importSourceAsync) !== undefined) {
      yield* importSource(step, data, source, importer);
    } else if (data.chunked) {
      // A plan may have many small regions: no more is made for one than it has pages.
      const buffer = new Uint8Array(Math.min(CHUNK_BYTES, pageCount * PAGE_BYTES));
      yield* importChunks(buffer, importer, source, { ...data, pageBase, pageCount }, tag, acceptance);
    } else {
      importPages(yield* wholeBytes(source, data, tag));
    }
  } else if (importer.importIdentityMap === undefined) {
    importPages(generate(pageCount * PAGE_BYTES, (hotPaths) => hotPaths.identityMap(0, data.map)));
  } else {
    callImporter(
      () => importer.importIdentityMap?.(pageBase, pageCount, tag, acceptance, data.map),
      refusalCode(data),
      tag,
    );
  }
}

/** Has the importer read from the source itself. */
function* importSource<R extends VpRegister>(
  { pageBase, pageCount, tag, acceptance, data }: PagesStep,
  { offset, length, leadingBytes }: SourceData,
  source: Source,
  importer: ImageLoad<R>,
): Task<void> {
  const place = [pageBase, pageCount, tag, acceptance] as const;
  const range = [offset, length, leadingBytes] as const;
  const runSync = (): void => {
    if (importer.importSource === undefined) {
      throw new DirectBootError("IMPORTER", `${tag}: the importer has no importSource`, {
        cure: "use the asynchronous function",
      });
    }
    const given: unknown = importer.importSource(...place, toSyncSource(source), ...range);
    refusePromise(given, refusalCode(data), tag);
  };
  const runAsync = async (signal?: AbortSignal): Promise<void> => {
    if (importer.importSourceAsync === undefined) runSync();
    else await importer.importSourceAsync(...place, source, ...range, signal);
  };
  try {
    yield { runSync, runAsync };
  } catch (cause) {
    throw cause instanceof CallbackFailure ? cause : wrapImporterError(refusalCode(data), tag, cause);
  }
}

/** All that a step wants of a source at once, for importers that take it by one importPages only. */
function* wholeBytes(source: Source, { offset, length }: SourceData, tag: string): Task<Uint8Array> {
  const known = source.peek?.(offset, length);
  if (known !== undefined) return known;
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(length);
  } catch (cause) {
    throw new DirectBootError("SOURCE_TOO_LARGE", `${tag}: ${length} bytes can't be held at once`, {
      cause,
      cure: "use an importer with importSource",
    });
  }
  yield* fill(source, bytes, offset);
  return bytes;
}

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
