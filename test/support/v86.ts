/** v86 under Node. */
import { V86, type V86Options } from "v86";
import { inRoot } from "./paths.js";

export const V86_WASM = inRoot("node_modules/v86/build/v86.wasm");

/** A machine that is being made, and does not run; `destroy` it, or its timers keep the process alive. */
export function makeV86(options: V86Options = {}): V86 {
  return new V86({ wasm_path: V86_WASM, memory_size: 64 << 20, autostart: false, ...options });
}

/** Resolves with what the machine's first serial port has sent once `until` is in it. */
export function serialUntil(emulator: V86, until: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const timer = setTimeout(() => reject(new Error(`no ${until} in ${timeoutMs} ms:\n${text}`)), timeoutMs);
    const onByte = (byte: number): void => {
      text += String.fromCharCode(byte);
      if (!text.endsWith(until)) return;
      clearTimeout(timer);
      emulator.remove_listener("serial0-output-byte", onByte);
      resolve(text);
    };
    emulator.add_listener("serial0-output-byte", onByte);
  });
}
