/** How far the work is, for people. */
import { formatBytes } from "./format.js";
import type { Progress } from "./protocol.js";

const PHASES: Readonly<Partial<Record<string, string>>> = {
  inspect: "Reading the headers",
  read: "Reading the files",
  decompress: "Decompressing the kernel",
  load: "Loading into guest memory",
  check: "Checking what lies where",
};

/** What is going on. */
export function phaseText({ phase }: Progress): string {
  return PHASES[phase] ?? "Working";
}

/** The same, with the bytes that are done, and shown by a bar. */
export function showProgress(bar: HTMLProgressElement, label: HTMLElement, progress: Progress): void {
  const { loaded, total } = progress;
  const isKnown = total !== undefined && total > 0;
  if (isKnown) bar.value = loaded / total;
  else bar.removeAttribute("value");
  const bytes = isKnown
    ? `: ${formatBytes(loaded)} of ${formatBytes(total)}`
    : loaded > 0
      ? `: ${formatBytes(loaded)}`
      : "…";
  label.textContent = `${phaseText(progress)}${bytes}`;
}
