/** The page: files and options in, a report out. */
import type { KernelInspection } from "directboot/inspect";
import aarch64Guest from "../../guests/aarch64.img?url";
import x86Guest from "../../guests/x86_64.elf?url";
import { BootPanel, bootRefusal } from "./boot-panel.js";
import { byId, download, el, section } from "./dom.js";
import { FilePanel } from "./file-panel.js";
import { OptionPanel } from "./option-panel.js";
import { showProblem } from "./problem.js";
import { problemOf } from "./problem-of.js";
import { phaseText, showProgress } from "./progress.js";
import type {
  Choices,
  GuestView,
  InspectorEvent,
  InspectorRequest,
  KernelFiles,
  Progress,
} from "./protocol.js";
import { setUpTheme } from "./theme.js";
import { BytesView } from "./view-bytes.js";
import { kernelSection } from "./view-kernel.js";
import { e820Section, MemoryPicture } from "./view-memory.js";
import { pageTableSection } from "./view-page-tables.js";
import { gdtSection, registerSection } from "./view-registers.js";
import { fileHeading, guestFacts } from "./view-summary.js";
import { toldSection } from "./view-told.js";

/** A load that is done sooner shows no bar: it would only flicker. */
const BAR_AFTER_MILLISECONDS = 150;

/** A load: its inputs and its results. */
interface Job {
  readonly files: KernelFiles;
  readonly choices: Choices;
  readonly worker: Worker;
  readonly barTimer: ReturnType<typeof setTimeout>;
  /** Other files than before, not other options. */
  readonly isNewFile: boolean;
  inspection?: KernelInspection;
  guest?: GuestView;
}

const announcer = byId("announcer", HTMLElement);
const problemPlace = byId("problem", HTMLElement);
const report = byId("report", HTMLElement);
const progressPanel = byId("progress-panel", HTMLElement);
const progressBar = byId("progress", HTMLProgressElement);
const progressLabel = byId("progress-label", HTMLElement);

let job: Job | undefined;
let boot: BootPanel | undefined;
let picture: MemoryPicture | undefined;
let bytes: BytesView | undefined;

function announce(text: string): void {
  announcer.textContent = text;
}

/** "empty", "loading", "loaded" or "failed": what the style sheet goes by, and tests wait for. */
function setState(state: string): void {
  document.body.dataset["state"] = state;
}

function tellProgress(progress: Progress): void {
  showProgress(progressBar, progressLabel, progress);
  if (progressPanel.dataset["phase"] === progress.phase) return;
  progressPanel.dataset["phase"] = progress.phase;
  if (!progressPanel.hidden) announce(phaseText(progress));
}

function endJob(): void {
  if (job === undefined) return;
  clearTimeout(job.barTimer);
  progressPanel.hidden = true;
  delete progressPanel.dataset["phase"];
  report.removeAttribute("aria-busy");
}

function fail(current: Job, problem: Parameters<typeof showProblem>[2]): void {
  endJob();
  setState("failed");
  // The file's headers stay: they may show why.
  const headers = current.inspection === undefined ? undefined : kernelSection(current.inspection);
  report.replaceChildren(
    ...(current.inspection === undefined
      ? []
      : [
          el(
            "section",
            { class: "card", "aria-labelledby": "summary-heading" },
            ...fileHeading(current.inspection),
          ),
        ]),
    ...(headers === undefined ? [] : [headers]),
  );
  report.hidden = report.childElementCount === 0;
  showProblem(problemPlace, `${current.files.kernel.name} can't be loaded`, problem);
}

function startBoot(current: Job, button: HTMLButtonElement, place: HTMLElement): void {
  boot?.dispose();
  button.disabled = true;
  boot = new BootPanel(current.files, current.choices, () => {
    button.disabled = false;
    button.textContent = "Boot again";
  });
  place.replaceChildren(boot.element);
  byId("boot-heading", HTMLElement).focus();
  void boot.open();
}

function actions(current: Job, guest: GuestView, place: HTMLElement): HTMLElement {
  const why = bootRefusal(guest);
  const bootButton = el(
    "button",
    {
      type: "button",
      class: "primary",
      id: "boot-button",
      disabled: why !== undefined,
      "aria-describedby": why === undefined ? undefined : "boot-refusal",
    },
    "Boot in v86",
  );
  bootButton.addEventListener("click", () => startBoot(current, bootButton, place));
  const exportButton = (name: string, id: string): HTMLElement => {
    const button = el("button", { type: "button", id }, `Download ${name}`);
    button.addEventListener("click", () => {
      const request: InspectorRequest = { kind: "export" };
      button.disabled = true;
      const take = ({ data }: MessageEvent<InspectorEvent>): void => {
        if (data.kind !== "exported") return;
        current.worker.removeEventListener("message", take);
        button.disabled = false;
        download(name === "manifest.json" ? data.manifest : data.memory, name);
        announce(`${name} is downloaded`);
      };
      current.worker.addEventListener("message", take);
      current.worker.postMessage(request);
    });
    return button;
  };
  return el(
    "div",
    {},
    el(
      "div",
      { class: "actions" },
      bootButton,
      exportButton("manifest.json", "export-manifest"),
      exportButton("memory.bin", "export-memory"),
    ),
    why === undefined
      ? undefined
      : el("p", { class: "hint refusal", id: "boot-refusal" }, `It can't be booted here: ${why}.`),
  );
}

function showGuest(current: Job, inspection: KernelInspection, guest: GuestView): void {
  const bootPlace = el("div", { id: "boot-place" });
  const isArm64 = guest.architecture === "aarch64";
  const view = new BytesView(guest, (address, byteLength) => {
    const request: InspectorRequest = { kind: "bytes", address, byteLength };
    current.worker.postMessage(request);
  });
  bytes = view;
  picture = new MemoryPicture(guest, ({ start }) => {
    view.go(start);
    byId("bytes-heading", HTMLElement).focus();
  });
  const sections = [
    section("memory-map", "Guest memory", picture.element),
    toldSection(guest.told),
    e820Section(guest.map.e820),
    registerSection(guest.registers, isArm64),
    gdtSection(guest.gdt, guest.registers),
    pageTableSection(guest.pageTables),
    view.element,
    kernelSection(inspection, guest.unpacked),
  ].filter((section) => section !== undefined);
  const links = sections.map((section) =>
    el("li", {}, el("a", { href: `#${section.id}` }, section.querySelector("h2")?.textContent ?? "")),
  );
  report.replaceChildren(
    el(
      "section",
      { class: "card summary", "aria-labelledby": "summary-heading" },
      ...fileHeading(inspection),
      guestFacts(guest),
      actions(current, guest, bootPlace),
    ),
    bootPlace,
    el("nav", { class: "contents", "aria-label": "Report" }, el("ul", {}, ...links)),
    ...sections,
  );
  report.hidden = false;
}

function takeArchitecture({ isNewFile }: Job, isArm64: boolean): void {
  files.showDeviceTree(isArm64);
  if (options.adaptCommandLine(isArm64)) load(isNewFile);
}

function take(current: Job, event: InspectorEvent): void {
  switch (event.kind) {
    case "progress":
      tellProgress(event.progress);
      break;
    case "inspected":
      current.inspection = event.inspection;
      options.offer(event.inspection, current.files.initrds.length > 0);
      takeArchitecture(current, (event.inspection.inside ?? event.inspection).architecture === "aarch64");
      break;
    case "loaded":
      endJob();
      current.guest = event.guest;
      if (current.inspection !== undefined) showGuest(current, current.inspection, event.guest);
      setState("loaded");
      // On a narrow screen the report begins below what was just used.
      if (current.isNewFile && matchMedia("(max-width: 52rem)").matches) report.scrollIntoView();
      announce(`${current.files.kernel.name} is loaded: ${event.guest.regions.length} regions`);
      break;
    case "failed":
      fail(current, event.problem);
      break;
    case "bytes":
      bytes?.show(event.address, event.bytes);
      break;
    case "exported":
      break;
  }
}

function load(isNewFile: boolean): void {
  const { files: chosen } = files;
  const { choices } = options;
  if (chosen === undefined || choices === undefined) return;
  endJob();
  job?.worker.terminate();
  boot?.dispose();
  boot = undefined;
  // A thread for each load: one that is not wanted any more ends at once, with its guest's memory.
  const worker = new Worker(new URL("./inspector-worker.ts", import.meta.url), { type: "module" });
  const barTimer = setTimeout(() => {
    progressPanel.hidden = false;
    announce(progressLabel.textContent ?? "");
  }, BAR_AFTER_MILLISECONDS);
  const current: Job = { files: chosen, choices, worker, barTimer, isNewFile };
  job = current;
  worker.addEventListener("message", ({ data }: MessageEvent<InspectorEvent>) => {
    if (job === current) take(current, data);
  });
  worker.addEventListener("error", (event) => {
    if (job === current) fail(current, problemOf(new Error(event.message || "the worker could not start")));
  });
  problemPlace.hidden = true;
  report.setAttribute("aria-busy", "true");
  setState("loading");
  tellProgress({ phase: "inspect", loaded: 0, total: 0 });
  const request: InspectorRequest = { kind: "load", files: chosen, choices };
  worker.postMessage(request);
}

let lastKernel: File | undefined;
const files = new FilePanel(() => {
  if (files.files?.kernel !== lastKernel) options.reset();
  lastKernel = files.files?.kernel;
  load(true);
});
const options = new OptionPanel(() => load(false));

byId("cancel", HTMLButtonElement).addEventListener("click", () => {
  endJob();
  job?.worker.terminate();
  job = undefined;
  report.replaceChildren();
  report.hidden = true;
  setState("empty");
  announce("Cancelled");
  byId("kernel", HTMLInputElement).focus();
});

async function useDemo(url: string, name: string): Promise<void> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  files.setKernel(new File([await response.blob()], name));
}
function wireDemo(id: string, url: string, name: string): void {
  byId(id, HTMLButtonElement).addEventListener("click", () => {
    useDemo(url, name).catch((error: unknown) => {
      setState("failed");
      showProblem(problemPlace, "The demo kernel can't be had", problemOf(error));
    });
  });
}
wireDemo("demo", x86Guest, "x86_64.elf");
wireDemo("demo-arm64", aarch64Guest, "aarch64.img");

setUpTheme(byId("theme", HTMLFieldSetElement), () => picture?.draw());
