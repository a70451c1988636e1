/** Boots the kernel in v86, in a thread of its own, with its first serial port in a terminal. */
import { download, el } from "./dom.js";
import { formatBytes, formatMilliseconds } from "./format.js";
import { showProblem } from "./problem.js";
import { showProgress } from "./progress.js";
import type { BootRequest, Choices, EmulatorEvent, GuestView, KernelFiles, Problem } from "./protocol.js";
import type { SerialTerminal } from "./terminal.js";

/** In the kernel's first line. */
const FIRST_LINE = "Linux version";
/** Kept of the output for finding that line. */
const MOST_KEPT = 4096;
/** Of what the guest prints the end is kept, for the log: a guest may print for days. */
const MOST_LOG_BYTES = 64 << 20;
/** More is cut by v86 (src/cpu.js, create_memory), or more than its own memory can hold beside the rest. */
const MOST_RAM_BYTES = 1n << 30n;
/** "\0asm" and the version: the smallest module. */
const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** Why WebAssembly can't be compiled here; undefined if it can. */
function wasmRefusal(): string | undefined {
  if (typeof WebAssembly !== "object") return "this browser has no WebAssembly, which v86 needs";
  try {
    new WebAssembly.Module(EMPTY_MODULE);
    return undefined;
  } catch {
    return "the Content-Security-Policy of this page forbids WebAssembly (script-src has no 'wasm-unsafe-eval'), which v86 needs";
  }
}

/** Why v86 can't start that guest; undefined if it can. */
export function bootRefusal({ architecture, entryMode, ram }: GuestView): string | undefined {
  if (architecture !== "i386" || entryMode !== "protected32") {
    return `v86 has a 32-bit x86 processor, and this kernel is for ${architecture}`;
  }
  const ramBytes = ram.reduce((sum, { start, end }) => sum + (end - start), 0n);
  if (ramBytes > MOST_RAM_BYTES) {
    return `v86 takes at most ${formatBytes(MOST_RAM_BYTES)} of RAM, and this machine has ${formatBytes(ramBytes)}`;
  }
  return wasmRefusal();
}

type State = "starting" | "running" | "ended";

/** A machine that was started, and its panel. */
export class BootPanel {
  readonly element: HTMLElement;
  readonly #status = el("p", { class: "boot-status", role: "status" });
  readonly #bar = el("progress", { max: "1", "aria-label": "Loading the kernel" });
  readonly #stop = el("button", { type: "button", class: "danger" }, "Stop");
  readonly #save = el("button", { type: "button", id: "save-log", disabled: true }, "Save the log");
  readonly #problem = el("div", { class: "problem", role: "alert", hidden: true });
  readonly #screen = el("div", { class: "console", role: "group", "aria-label": "Serial console" });
  readonly #worker: Worker;
  readonly #start = performance.now();
  readonly #onEnd: () => void;
  #terminal: SerialTerminal | undefined;
  /** What was printed, in the order in which it came. */
  readonly #log: Uint8Array<ArrayBuffer>[] = [];
  #logBytes = 0;
  #state: State = "starting";
  #kept = "";
  #firstLine: number | undefined;

  /** @param onEnd called once, when the machine has ended */
  constructor(files: KernelFiles, choices: Choices, onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#stop.addEventListener("click", () => this.stop());
    this.#save.addEventListener("click", () =>
      download(new Blob(this.#log, { type: "text/plain" }), "serial.log"),
    );
    this.element = el(
      "section",
      { class: "card boot", id: "boot", "aria-labelledby": "boot-heading" },
      el(
        "div",
        { class: "card-head" },
        el("h2", { id: "boot-heading", tabindex: "-1" }, "Serial console"),
        el("div", { class: "actions" }, this.#save, this.#stop),
      ),
      this.#status,
      this.#bar,
      this.#problem,
      this.#screen,
      ...(/\bconsole=ttyS0\b/.test(choices.commandLine)
        ? []
        : [
            el(
              "p",
              { class: "hint" },
              "The command line has no console=ttyS0: the kernel may print nothing here.",
            ),
          ]),
    );
    this.#tell("Starting v86…");
    this.#worker = new Worker(new URL("./emulator-worker.ts", import.meta.url), { type: "module" });
    this.#worker.addEventListener("message", ({ data }: MessageEvent<EmulatorEvent>) => this.#take(data));
    this.#worker.addEventListener("error", (event) => {
      this.#fail({
        code: undefined,
        what: event.message === "" ? "the emulator's thread could not start" : event.message,
        cure: undefined,
        meaning: undefined,
      });
    });
    const request: BootRequest = { files, choices };
    this.#worker.postMessage(request);
  }

  /** Puts the terminal into the page; after the element is in it. */
  async open(): Promise<void> {
    const { SerialTerminal } = await import("./terminal.js");
    if (this.#state === "ended") return;
    this.#terminal = new SerialTerminal(this.#screen, (text) => {
      if (this.#state === "running") this.#worker.postMessage({ kind: "input", text });
    });
    // What came while the terminal was on its way.
    for (const bytes of this.#log) this.#terminal.write(bytes);
  }

  /** Ends the machine, whatever it does; what it has printed stays. */
  stop(): void {
    if (this.#state === "ended") return;
    this.#end(`Stopped after ${this.#elapsed()}.`);
  }

  /** Removes the panel. */
  dispose(): void {
    this.stop();
    this.#terminal?.dispose();
    this.element.remove();
  }

  #elapsed(): string {
    return formatMilliseconds(performance.now() - this.#start);
  }

  #tell(text: string): void {
    this.#status.textContent = text;
  }

  #end(text: string): void {
    this.#state = "ended";
    this.#worker.terminate();
    this.#bar.hidden = true;
    this.#stop.hidden = true;
    this.element.dataset["state"] = "ended";
    this.#tell(`${text}${this.#firstLineText()}`);
    this.#onEnd();
  }

  #fail(problem: Problem): void {
    if (this.#state === "ended") return;
    this.#end("The machine did not start.");
    showProblem(this.#problem, "The kernel was not booted", problem);
  }

  #firstLineText(): string {
    return this.#firstLine === undefined
      ? ""
      : ` First kernel line after ${formatMilliseconds(this.#firstLine)}.`;
  }

  #take(event: EmulatorEvent): void {
    if (this.#state === "ended") return;
    switch (event.kind) {
      case "progress":
        showProgress(this.#bar, this.#status, event.progress);
        break;
      case "started":
        this.#state = "running";
        this.element.dataset["state"] = "running";
        this.#bar.hidden = true;
        this.#tell(`Running; loaded in ${this.#elapsed()}. Click the console to type.`);
        break;
      case "output":
        this.#lookForFirstLine(event.bytes);
        this.#keep(event.bytes);
        this.#terminal?.write(event.bytes);
        break;
      case "reset":
        this.#end(`The guest reset the machine after ${this.#elapsed()}.`);
        break;
      case "failed":
        this.#fail(event.problem);
        break;
    }
  }

  #keep(bytes: Uint8Array<ArrayBuffer>): void {
    this.#log.push(bytes);
    this.#logBytes += bytes.byteLength;
    while (this.#logBytes > MOST_LOG_BYTES) this.#logBytes -= this.#log.shift()?.byteLength ?? 0;
    this.#save.disabled = false;
  }

  #lookForFirstLine(bytes: Uint8Array): void {
    if (this.#firstLine !== undefined) return;
    this.#kept = (this.#kept + new TextDecoder("latin1").decode(bytes)).slice(-MOST_KEPT);
    if (!this.#kept.includes(FIRST_LINE)) return;
    this.#firstLine = performance.now() - this.#start;
    this.#tell(`Running.${this.#firstLineText()}`);
  }
}
