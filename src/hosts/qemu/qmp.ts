/** QEMU's control protocol, QMP: JSON, a message a line (QEMU's docs/interop/qmp-spec.txt). */
import type { Duplex } from "node:stream";

/** Arguments of QEMU: a monitor on the file descriptor `fd`; the machine waits for `cont`, so that no event is lost. */
export function controlArguments(fd: number): string[] {
  return ["-S", "-chardev", `socket,id=control,fd=${fd}`, "-mon", "chardev=control,mode=control"];
}

/** An event (qmp-spec.txt, "Asynchronous events"), or an answer. */
interface QmpMessage {
  readonly event?: string;
  readonly data?: { readonly reason?: string };
}

/** Why a machine has ended, in QEMU's words (qapi/run-state.json, ShutdownCause): "guest-reset", "guest-shutdown" … */
export type ShutdownCause = string;

/** Has the machine run. Gives what tells why it has ended: undefined as long as it runs, or if QEMU was killed. */
export function runMachine(stream: Duplex): () => ShutdownCause | undefined {
  let cause: ShutdownCause | undefined;
  let text = "";
  stream.setEncoding("utf8").on("data", (more: string) => {
    const lines = (text + more).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      const { event, data }: QmpMessage = JSON.parse(line);
      if (event === "SHUTDOWN") cause = data?.reason;
    }
  });
  // QEMU's end is no error here: its process's end says how it went.
  stream.on("error", () => {});
  // QEMU carries commands out in their order.
  for (const execute of ["qmp_capabilities", "cont"]) stream.write(`${JSON.stringify({ execute })}\n`);
  return () => cause;
}
