/** A terminal for a serial port; loaded when something boots. */
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { withStyleSheets } from "./terminal-styles.js";

const ROWS = 24;
const SCROLLBACK_ROWS = 5000;
/** On a narrow screen smaller letters keep more of a line together. */
const NARROW_PIXELS = 560;

/** Shows bytes, and gives back what is typed. */
export class SerialTerminal {
  readonly #terminal: Terminal;
  readonly #observer: ResizeObserver;

  constructor(place: HTMLElement, onInput: (text: string) => void) {
    this.#terminal = new Terminal({
      rows: ROWS,
      scrollback: SCROLLBACK_ROWS,
      fontFamily:
        "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace",
      fontSize: place.clientWidth < NARROW_PIXELS ? 10 : 13,
      lineHeight: 1.15,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      screenReaderMode: true,
      theme: {
        background: "#12161a",
        foreground: "#dfe5ea",
        cursor: "#8fd0ea",
        selectionBackground: "#3a5566",
      },
    });
    const fit = new FitAddon();
    this.#terminal.loadAddon(fit);
    withStyleSheets(() => this.#terminal.open(place));
    const resize = (): void => {
      const columns = fit.proposeDimensions()?.cols;
      if (columns !== undefined && columns > 0) this.#terminal.resize(columns, ROWS);
    };
    resize();
    this.#observer = new ResizeObserver(resize);
    this.#observer.observe(place);
    this.#terminal.onData(onInput);
  }

  write(bytes: Uint8Array): void {
    this.#terminal.write(bytes);
  }

  dispose(): void {
    this.#observer.disconnect();
    this.#terminal.dispose();
  }
}
