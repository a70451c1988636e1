/** QEMU's control protocol, QMP: JSON, a message a line (QEMU's docs/interop/qmp-spec.txt). */
import type { Duplex } from "node:stream";

/** Arguments of QEMU: a monitor on the file descriptor `fd`; the machine waits for `cont`, so that no event is lost. */
export function controlArguments(fd: number): string[] {
  return ["-S", "-chardev", `socket,id=control,fd=${fd}`, "-mon", "chardev=control,mode=control"];
}

/** An answer or an event (qmp-spec.txt, "Server Responses", "Asynchronous events"). */
interface QmpMessage {
  readonly event?: string;
  readonly data?: { readonly reason?: string };
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

/** Why a machine has ended, in QEMU's words (qapi/run-state.json, ShutdownCause): "guest-reset", "guest-shutdown" … */
export type ShutdownCause = string;

/** The control of one QEMU. Its answers come in the order of the commands. */
export class Qmp {
  readonly #stream: Duplex;
  readonly #waiting: { resolve: (result: unknown) => void; reject: (error: Error) => void }[] = [];
  #text = "";
  #shutdownCause: ShutdownCause | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => this.#receive(text));
    const end = (): void => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error("QEMU has ended"));
    };
    // QEMU's end is no error here: its process's end says how it went.
    stream.on("error", end).on("close", end);
  }

  /** Why the machine has ended; undefined as long as it runs, or if QEMU was killed. */
  get shutdownCause(): ShutdownCause | undefined {
    return this.#shutdownCause;
  }

  /** Has the machine run. If QEMU ends before, its process says why. */
  start(): void {
    this.execute("qmp_capabilities")
      .then(() => this.execute("cont"))
      .catch(() => {});
  }

  /** Sends a command. Its result; rejects with QEMU's words. */
  execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#stream.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    });
  }

  #receive(text: string): void {
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() !== "") this.#take(JSON.parse(line));
    }
  }

  #take(message: QmpMessage): void {
    if (message.event === "SHUTDOWN") this.#shutdownCause = message.data?.reason;
    if (!("return" in message) && message.error === undefined) return;
    const waiting = this.#waiting.shift();
    if (message.error === undefined) waiting?.resolve(message.return);
    else waiting?.reject(new Error(message.error.desc));
  }
}
