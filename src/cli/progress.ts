/** A progress bar on a terminal; nothing in a pipe. */
import { formatSize } from "../inspect/sizes.js";

const BAR_CELLS = 30;
const MILLISECONDS_BETWEEN = 50;

/** Shows how far a piece of work is. */
export interface ProgressBar {
  update(loaded: number, total: number): void;
  /** Wipes the bar. */
  done(): void;
}

/**
 * A bar on `stream` if that is a terminal. It appears only once the work has gone on for a moment, so that quick
 * work does not flicker.
 */
export function progressBar(label: string, stream: NodeJS.WriteStream = process.stderr): ProgressBar {
  if (stream.isTTY !== true) return { update: () => {}, done: () => {} };
  let next = performance.now() + MILLISECONDS_BETWEEN;
  let shown = false;
  return {
    update(loaded, total) {
      if (performance.now() < next) return;
      next = performance.now() + MILLISECONDS_BETWEEN;
      shown = true;
      const share = total === 0 ? 1 : loaded / total;
      const filled = Math.round(share * BAR_CELLS);
      const bar = "█".repeat(filled) + "░".repeat(BAR_CELLS - filled);
      const text = `${label} ${bar} ${Math.round(share * 100)} % of ${formatSize(total)}`;
      stream.write(`\r\x1b[K${text}`);
    },
    done() {
      if (shown) stream.write("\r\x1b[K");
    },
  };
}
