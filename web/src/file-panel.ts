/** The files: chosen, dropped on their place, or dropped anywhere and told apart by what they are. */
import { byId } from "./dom.js";
import { formatBytes } from "./format.js";
import type { KernelFiles } from "./protocol.js";

type Slot = keyof typeof SLOT_WORDS;

/** What a file is that belongs there. */
const SLOT_WORDS = { kernel: "a kernel", initrd: "an initrd", deviceTree: "a device tree" } as const;

/** Where files belong, told from what is in them, in a thread of its own: a compressed one is unpacked for it. */
async function slotsOf(files: readonly File[]): Promise<readonly (Slot | undefined)[]> {
  const worker = new Worker(new URL("./slot-worker.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      worker.addEventListener("message", ({ data }: MessageEvent<readonly (Slot | undefined)[]>) =>
        resolve(data),
      );
      worker.addEventListener("error", reject);
      worker.postMessage(files);
    });
  } catch {
    return files.map(() => undefined);
  } finally {
    worker.terminate();
  }
}

function isSlot(text: string | undefined): text is Slot {
  return text === "kernel" || text === "initrd" || text === "deviceTree";
}

/** The panel with the pickers. */
export class FilePanel {
  readonly #onChange: () => void;
  #kernel: File | undefined;
  #initrds: readonly File[] = [];
  #deviceTree: File | undefined;

  /** @param onChange called when other files are chosen */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
    const wire = (id: string, take: (files: readonly File[]) => void): void => {
      const input = byId(id, HTMLInputElement);
      input.addEventListener("change", () => {
        const files = [...(input.files ?? [])];
        // A picker that was cancelled keeps what was chosen.
        if (files.length > 0) take(files);
        // So that the same file, changed on disk, can be chosen again.
        input.value = "";
      });
    };
    wire("kernel", ([file]) => this.setKernel(file));
    wire("initrd", (files) => this.#set({ initrds: files }));
    wire("device-tree", ([file]) => this.#set({ deviceTree: file }));
    const clear = (id: string, focus: string, files: Parameters<FilePanel["update"]>[0]): void =>
      byId(id, HTMLButtonElement).addEventListener("click", () => {
        this.#set(files);
        byId(focus, HTMLInputElement).focus();
      });
    clear("initrd-clear", "initrd", { initrds: [] });
    clear("device-tree-clear", "device-tree", { deviceTree: undefined });
    this.#acceptDrops();
  }

  /** The chosen files; undefined while there is no kernel. */
  get files(): KernelFiles | undefined {
    if (this.#kernel === undefined) return undefined;
    return { kernel: this.#kernel, initrds: this.#initrds, deviceTree: this.#deviceTree };
  }

  setKernel(kernel: File | undefined): void {
    this.#set({ kernel });
  }

  /** A device tree goes with arm64, and with x86 if one is given. */
  showDeviceTree(isWanted: boolean): void {
    byId("device-tree-slot", HTMLElement).hidden = !isWanted && this.#deviceTree === undefined;
  }

  #set(files: Parameters<FilePanel["update"]>[0]): void {
    this.update(files);
    const others = [
      ...(this.#initrds.length === 0 ? [] : [SLOT_WORDS.initrd]),
      ...(this.#deviceTree === undefined ? [] : [SLOT_WORDS.deviceTree]),
    ];
    const isAlone = this.#kernel === undefined && others.length > 0;
    this.#tell(isAlone ? `That is ${others.join(" and ")}. It goes with a kernel: give that, too.` : "");
    this.#onChange();
  }

  /** Says what to do about the files. */
  #tell(text: string): void {
    byId("files-note", HTMLElement).textContent = text;
  }

  /** Takes files without telling of it. */
  update(files: {
    readonly kernel?: File | undefined;
    readonly initrds?: readonly File[];
    readonly deviceTree?: File | undefined;
  }): void {
    if (files.kernel !== undefined) this.#kernel = files.kernel;
    if (files.initrds !== undefined) this.#initrds = files.initrds;
    if ("deviceTree" in files) this.#deviceTree = files.deviceTree;
    const tell = (id: string, chosen: readonly File[]): void => {
      byId(`${id}-chosen`, HTMLElement).textContent = chosen
        .map(({ name, size }) => `${name}, ${formatBytes(size)}`)
        .join("; ");
    };
    tell("kernel", this.#kernel === undefined ? [] : [this.#kernel]);
    tell("initrd", this.#initrds);
    tell("device-tree", this.#deviceTree === undefined ? [] : [this.#deviceTree]);
    byId("initrd-clear", HTMLElement).hidden = this.#initrds.length === 0;
    byId("device-tree-clear", HTMLElement).hidden = this.#deviceTree === undefined;
    if (this.#deviceTree !== undefined) this.showDeviceTree(true);
  }

  #acceptDrops(): void {
    const veil = byId("drop-veil", HTMLElement);
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") === true;
    const mark = (target: EventTarget | null): Element | undefined => {
      const slot = target instanceof Element ? target.closest("[data-slot]") : null;
      for (const other of document.querySelectorAll(".slot.is-target")) {
        if (other !== slot) other.classList.remove("is-target");
      }
      slot?.classList.add("is-target");
      return slot ?? undefined;
    };
    document.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      veil.hidden = mark(event.target) !== undefined;
    });
    document.addEventListener("dragleave", (event) => {
      // Out of the window, not from one element to the next.
      if (event.relatedTarget !== null) return;
      mark(null);
      veil.hidden = true;
    });
    document.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      const slot = mark(event.target);
      mark(null);
      veil.hidden = true;
      const dropped = [...(event.dataTransfer?.files ?? [])];
      const name = slot instanceof HTMLElement ? slot.dataset["slot"] : undefined;
      void this.#take(dropped, isSlot(name) ? name : undefined);
    });
  }

  /** Puts dropped files where they were dropped, or else where they belong. */
  async #take(files: readonly File[], slot: Slot | undefined): Promise<void> {
    const slots = slot === undefined ? await slotsOf(files) : files.map(() => slot);
    const at = (wanted: Slot | undefined): File[] => files.filter((_, index) => slots[index] === wanted);
    for (const only of ["kernel", "deviceTree"] as const) {
      const found = at(only);
      if (found.length < 2) continue;
      const names = found.map(({ name }) => name).join(" and ");
      this.#tell(`${names} are each ${SLOT_WORDS[only]}, and a guest has one: drop the one that you want.`);
      return;
    }
    // What nothing tells of may be a kernel where there is none: the error then says what it is.
    const unclear = at(undefined);
    const kernel = at("kernel")[0] ?? (this.#kernel === undefined ? unclear.shift() : undefined);
    const initrds = [...at("initrd"), ...unclear];
    const [deviceTree] = at("deviceTree");
    this.#set({
      kernel,
      ...(initrds.length === 0 ? {} : { initrds }),
      ...(deviceTree === undefined ? {} : { deviceTree }),
    });
  }
}
