/** The machine: RAM, command line, entry, and who decompresses. */
import type { X86Entry } from "directboot";
import type { KernelInspection } from "directboot/inspect";
import { byId, el } from "./dom.js";
import { parseBytes } from "./format.js";
import type { Choices } from "./protocol.js";

const ENTRY_NAMES: Readonly<Record<X86Entry, string>> = {
  "64": "64-bit boot protocol",
  "32": "32-bit boot protocol",
  pvh: "PVH",
};
/** Command lines that show something on the first serial port of a machine such as v86, or QEMU's virt. */
const X86_COMMAND_LINE = "console=ttyS0 earlyprintk=ttyS0";
const ARM64_COMMAND_LINE = "console=ttyAMA0";
/** From the last key to the load. */
const TYPING_MILLISECONDS = 500;

function isEntry(text: string): text is X86Entry {
  return Object.hasOwn(ENTRY_NAMES, text);
}

/** The panel with the options. */
export class OptionPanel {
  readonly #memory = byId("memory", HTMLInputElement);
  readonly #commandLine = byId("command-line", HTMLInputElement);
  readonly #entry = byId("entry", HTMLSelectElement);
  readonly #decompress = byId("decompress", HTMLSelectElement);
  readonly #decompressInitrd = byId("decompress-initrd", HTMLInputElement);
  readonly #hint = byId("memory-hint", HTMLElement);

  /** @param onChange called when an option has another value */
  constructor(onChange: () => void) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let last = "";
    const changed = (): void => {
      clearTimeout(timer);
      const now = JSON.stringify(this.choices);
      if (now !== undefined && now !== last) onChange();
      last = now;
    };
    last = JSON.stringify(this.choices);
    for (const input of [this.#memory, this.#commandLine]) {
      input.addEventListener("input", () => {
        this.#check();
        clearTimeout(timer);
        timer = setTimeout(changed, TYPING_MILLISECONDS);
      });
      input.addEventListener("change", changed);
    }
    for (const input of [this.#entry, this.#decompress, this.#decompressInitrd]) {
      input.addEventListener("change", changed);
    }
    byId("workbench", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      changed();
    });
  }

  #check(): boolean {
    const isValid = parseBytes(this.#memory.value) !== undefined;
    this.#memory.setAttribute("aria-invalid", String(!isValid));
    this.#hint.textContent = isValid ? "such as 64M or 2G" : "give a size, such as 64M or 2G";
    return isValid;
  }

  /** The choice; undefined while the size of RAM is invalid. */
  get choices(): Choices | undefined {
    const memoryBytes = parseBytes(this.#memory.value);
    if (memoryBytes === undefined) return undefined;
    const { value: entry } = this.#entry;
    const { value: decompress } = this.#decompress;
    return {
      memoryBytes,
      commandLine: this.#commandLine.value,
      entry: isEntry(entry) ? entry : undefined,
      decompress: decompress === "host" || decompress === "guest" ? decompress : undefined,
      decompressInitrd: this.#decompressInitrd.checked,
    };
  }

  /** Another file: what was chosen for the one before may not be there. */
  reset(): void {
    this.#entry.replaceChildren(el("option", { value: "" }, "the kernel's own"));
    this.#entry.value = "";
    this.#decompress.value = "";
  }

  /** Takes the other architecture's command line, if the user has written none; true if that changed it. */
  adaptCommandLine(isArm64: boolean): boolean {
    const [from, to] = isArm64
      ? [X86_COMMAND_LINE, ARM64_COMMAND_LINE]
      : [ARM64_COMMAND_LINE, X86_COMMAND_LINE];
    if (this.#commandLine.value !== from) return false;
    this.#commandLine.value = to;
    return true;
  }

  /** Offers what that kernel has. */
  offer(inspection: KernelInspection, hasInitrd: boolean): void {
    const chosen = this.#entry.value;
    const { entries, architecture } = inspection.inside ?? inspection;
    const own = entries[0] === undefined ? "the kernel's own" : `default: ${ENTRY_NAMES[entries[0]]}`;
    this.#entry.replaceChildren(
      el("option", { value: "" }, own),
      ...entries.map((entry) => el("option", { value: entry }, ENTRY_NAMES[entry])),
    );
    this.#entry.value = entries.some((entry) => entry === chosen) ? chosen : "";
    byId("entry-field", HTMLElement).hidden = architecture === "aarch64";
    byId("decompress-field", HTMLElement).hidden = inspection.format !== "bzImage";
    byId("decompress-initrd-field", HTMLElement).hidden = !hasInitrd;
    byId("options", HTMLElement).hidden = false;
  }
}
