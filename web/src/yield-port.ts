/**
 * v86 lets the browser breathe by a Worker that it makes from a blob, which a page's Content-Security-Policy may forbid,
 * and which costs a thread. This stands in for that Worker: the same messages, over a MessageChannel and a timer.
 */
interface Yield {
  /** Milliseconds to wait. */
  readonly t: number;
  /** Comes back as it is. */
  readonly tick: unknown;
}

class YieldPort {
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  readonly #channel = new MessageChannel();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.#channel.port1.onmessage = ({ data }) => this.onmessage?.({ data });
  }

  postMessage({ t, tick }: Yield): void {
    clearTimeout(this.#timer);
    if (t < 1) this.#channel.port2.postMessage(tick);
    else this.#timer = setTimeout(() => this.onmessage?.({ data: tick }), t);
  }

  terminate(): void {
    clearTimeout(this.#timer);
    this.#channel.port1.close();
  }
}

/** From now on `new Worker` in this thread makes a stand-in. For the emulator's own thread, where nothing else wants one. */
export function standInForWorkers(): void {
  Object.defineProperty(globalThis, "Worker", { value: YieldPort, configurable: true, writable: true });
}
