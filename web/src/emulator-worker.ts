/** The emulator, in a thread of its own: the page stays quick, and ends it whatever the guest does. */
import { bootV86 } from "directboot/v86";
import { V86 } from "v86";
import v86Wasm from "v86/build/v86.wasm?url";
import { loadOptions } from "./load-options.js";
import { problemOf } from "./problem-of.js";
import type { BootRequest, EmulatorEvent, EmulatorInput } from "./protocol.js";
import { standInForWorkers } from "./yield-port.js";

/** Between two posts of what the guest has printed, milliseconds. */
const FLUSH_MILLISECONDS = 16;

function post(event: EmulatorEvent): void {
  self.postMessage(event);
}

/** Collects the serial port's bytes: a message for each would cost more than the guest. */
function serialOutput(): (byte: number) => void {
  let bytes: number[] = [];
  let isDue = false;
  return (byte) => {
    bytes.push(byte);
    if (isDue) return;
    isDue = true;
    setTimeout(() => {
      isDue = false;
      const output = Uint8Array.from(bytes);
      bytes = [];
      post({ kind: "output", bytes: output });
    }, FLUSH_MILLISECONDS);
  };
}

/** Calls back when the guest resets the machine: without firmware there is nothing that would start then. */
function onReset(emulator: V86, callback: () => void): void {
  const { v86 } = emulator as { v86?: { cpu?: { reboot_internal?: unknown } } };
  if (v86?.cpu !== undefined) v86.cpu.reboot_internal = callback;
}

async function boot({ files, choices }: BootRequest): Promise<void> {
  standInForWorkers();
  const emulator = new V86({
    memory_size: choices.memoryBytes,
    autostart: false,
    wasm_fn: async (imports: WebAssembly.Imports) => {
      const response = await fetch(v86Wasm);
      if (!response.ok) throw new Error(`v86.wasm: ${response.status} ${response.statusText}`);
      const { instance } = await WebAssembly.instantiate(await response.arrayBuffer(), imports);
      return instance.exports;
    },
  });
  emulator.add_listener("serial0-output-byte", serialOutput());
  self.addEventListener("message", ({ data }: MessageEvent<EmulatorInput>) => {
    if (data.kind === "input") emulator.serial0_send(data.text);
  });
  const guest = await bootV86(emulator, {
    ...loadOptions(files, choices),
    onProgress: (progress) => post({ kind: "progress", progress }),
  });
  onReset(emulator, () => {
    void emulator.stop();
    post({ kind: "reset" });
  });
  post({ kind: "started", entry: guest.info.kernel.entrypoint });
}

self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  post({ kind: "failed", problem: problemOf(event.reason) });
});
self.addEventListener(
  "message",
  ({ data }: MessageEvent<BootRequest>) => {
    boot(data).catch((error: unknown) => post({ kind: "failed", problem: problemOf(error) }));
  },
  { once: true },
);
