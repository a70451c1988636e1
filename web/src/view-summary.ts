/** The first thing to see: what it is, where it starts, how long it took, and what can be done with it. */
import type { KernelInspection } from "directboot/inspect";
import { code, el } from "./dom.js";
import { formatAddress, formatBytes, formatMilliseconds } from "./format.js";
import type { GuestView } from "./protocol.js";
import { describeFile } from "./view-kernel.js";

const ENTRY_MODES: Readonly<Record<GuestView["entryMode"], string>> = {
  long64: "64-bit long mode, paging on",
  protected32: "32-bit protected mode, paging off",
  aarch64: "arm64, MMU off",
};

function fact(term: string, ...value: (HTMLElement | string)[]): HTMLElement {
  return el("div", {}, el("dt", {}, term), el("dd", {}, ...value));
}

/** A fact that takes a whole row. */
function wideFact(term: string, ...value: (HTMLElement | string)[]): HTMLElement {
  return el("div", { class: "wide" }, el("dt", {}, term), el("dd", {}, ...value));
}

function capitalise(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

/** Title and description of the file, which stand while the rest is worked on. */
export function fileHeading(inspection: KernelInspection): HTMLElement[] {
  const { kernelVersion } =
    inspection.kernelVersion === undefined ? (inspection.inside ?? inspection) : inspection;
  return [
    el("h2", { id: "summary-heading", tabindex: "-1" }, inspection.name),
    el("p", { class: "description" }, `${capitalise(describeFile(inspection))}.`),
    ...(kernelVersion === undefined ? [] : [el("p", { class: "version" }, `Linux ${kernelVersion}`)]),
  ];
}

/** The facts of a loaded guest. */
export function guestFacts(guest: GuestView): HTMLElement {
  const { kernel, initrd, deviceTree, decompression, times, regions } = guest;
  const bytes = regions.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const work = times.plan + times.load;
  return el(
    "dl",
    { class: "facts" },
    fact("Architecture", guest.architecture),
    fact("Entered in", ENTRY_MODES[guest.entryMode]),
    fact("Entry", code(formatAddress(guest.entry))),
    fact("Kernel", code(formatAddress(kernel.start)), `, ${formatBytes(kernel.size)}`),
    ...(initrd === undefined
      ? []
      : [fact("Initrd", code(formatAddress(initrd.start)), `, ${formatBytes(initrd.size)}`)]),
    ...(deviceTree === undefined
      ? []
      : [
          fact(
            "Device tree",
            code(formatAddress(deviceTree.start)),
            guest.isBareTree
              ? ", a bare one that stands in"
              : `, ${formatBytes(deviceTree.end - deviceTree.start)}`,
          ),
        ]),
    ...(decompression === undefined
      ? []
      : [
          fact(
            "Decompressed by",
            `the ${decompression.by}, ${decompression.format}${decompression.compressedBytes === undefined ? "" : ` of ${formatBytes(decompression.compressedBytes)}`}`,
          ),
        ]),
    fact("RAM", formatBytes(guest.ram.reduce((sum, { start, end }) => sum + (end - start), 0n))),
    wideFact(
      "Loaded",
      `${formatBytes(bytes)} in ${formatMilliseconds(work)}`,
      el(
        "span",
        { class: "quiet-text" },
        ` (plan ${formatMilliseconds(times.plan)}, load ${formatMilliseconds(times.load)}, checksums ${formatMilliseconds(times.check)}, by ${guest.hotPaths === "wasm" ? "WebAssembly" : "JavaScript"})`,
      ),
    ),
  );
}
