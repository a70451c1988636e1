/** A progress bar on a terminal; nothing in a pipe. */
import { formatSize } from "../inspect/sizes.js";

const BAR_CELLS = 30;
const MILLISECONDS_BETWEEN = 50;

/** How far a piece of work is, bytes; the total may not be known yet. */
export interface Progress {
  readonly loaded: number;
  readonly total: number | undefined;
}

/**
 * Does `work` with a bar on standard error, if that is a terminal. The bar appears only once the work has gone on for a
 * moment, so that quick work does not flicker, and is wiped in the end.
 */
export async function withProgressBar<T>(
  label: string,
  work: (onProgress: (progress: Progress) => void) => Promise<T>,
): Promise<T> {
  const { stderr } = process;
  if (!stderr.isTTY) return await work(() => {});
  let next = performance.now() + MILLISECONDS_BETWEEN;
  let shown = false;
  try {
    return await work(({ loaded, total }) => {
      if (performance.now() < next) return;
      next = performance.now() + MILLISECONDS_BETWEEN;
      shown = true;
      if (total === undefined) {
        stderr.write(`\r\x1b[K${label} ${formatSize(loaded)}`);
        return;
      }
      const share = total === 0 ? 1 : loaded / total;
      const filled = Math.round(share * BAR_CELLS);
      const bar = "█".repeat(filled) + "░".repeat(BAR_CELLS - filled);
      stderr.write(`\r\x1b[K${label} ${bar} ${Math.round(share * 100)} % of ${formatSize(total)}`);
    });
  } finally {
    if (shown) stderr.write("\r\x1b[K");
  }
}
