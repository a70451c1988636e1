/** Inspects, plans and loads in a thread of its own, one kernel a thread, and keeps the guest for its export. */
import {
  applyPlan,
  GuestMemory,
  GuestMemoryImporter,
  hotPaths,
  LinuxGuest,
  type LinuxPlan,
  planLinux,
} from "directboot";
import {
  describeRegister,
  inspectKernel,
  type KernelInspection,
  memoryMapOf,
  regionChecksums,
} from "directboot/inspect";
import { type ExportedRegion, exportManifest, regionViews } from "../../src/linux/guest-export.js";
import { gdtOf, pageTablesOf, segmentFinder, toldOf, unpackedKernel } from "./inspection.js";
import { loadOptions } from "./load-options.js";
import { problemOf } from "./problem-of.js";
import type {
  Choices,
  GuestView,
  InspectorEvent,
  InspectorRequest,
  KernelFiles,
  Progress,
} from "./protocol.js";

/** At most so often is progress told, milliseconds. */
const PROGRESS_MILLISECONDS = 40;

let loaded: LinuxGuest | undefined;

function post(event: InspectorEvent): void {
  self.postMessage(event);
}

/** Tells progress, but not each of a thousand steps. */
function progressTeller(): (progress: Progress) => void {
  let last = 0;
  let phase = "";
  return (progress) => {
    const now = performance.now();
    if (progress.phase === phase && now - last < PROGRESS_MILLISECONDS) return;
    last = now;
    ({ phase } = progress);
    post({ kind: "progress", progress });
  };
}

/** The kernel that is loaded, in its file: uncompressed, or out of what it is wrapped in. */
function innermost(inspection: KernelInspection): KernelInspection {
  return inspection.inside === undefined ? inspection : innermost(inspection.inside);
}

function viewOf(
  guest: LinuxGuest,
  plan: LinuxPlan,
  kernelFile: KernelInspection,
  parts: Pick<GuestView, "isBareTree" | "unpacked"> & { readonly times: Omit<GuestView["times"], "check"> },
): GuestView {
  const { kernel, initrd, dtb } = guest.info;
  const { isBareTree, unpacked, times } = parts;
  const segmentsIn = segmentFinder(plan, unpacked?.segments ?? innermost(kernelFile).segments);
  const start = performance.now();
  const checksums = regionChecksums(guest);
  const check = performance.now() - start;
  return {
    architecture: guest.architecture,
    entryMode: guest.entryMode,
    entry: kernel.entrypoint,
    kernel: { start: kernel.gpa, size: kernel.size },
    initrd: initrd === undefined ? undefined : { start: initrd.gpa, size: initrd.size },
    deviceTree: dtb === undefined ? undefined : { start: dtb.start, end: dtb.end },
    isBareTree,
    decompression:
      guest.decompression === undefined
        ? undefined
        : {
            by: guest.decompression.by,
            format: guest.decompression.format,
            compressedBytes: guest.decompression.compressedBytes,
          },
    ram: guest.layout.ram.map(({ range }) => ({ start: range.start, end: range.end })),
    regions: guest.regions
      .map(({ range, tag, acceptance, dataLength }, index) => ({
        start: range.start,
        end: range.end,
        tag,
        acceptance,
        dataLength,
        crc32: checksums[index]?.crc32 ?? 0,
        segments: tag === "linux-kernel" ? segmentsIn(range.start, range.end) : [],
      }))
      .sort((a, b) => (a.start < b.start ? -1 : 1)),
    map: memoryMapOf(guest),
    unpacked,
    told: toldOf(guest),
    gdt: gdtOf(guest),
    registers: guest.registerList.map((register) => describeRegister(register)),
    pageTables: pageTablesOf(guest),
    times: { ...times, check },
    hotPaths: hotPaths.implementation,
  };
}

async function load(files: KernelFiles, choices: Choices): Promise<void> {
  const tell = progressTeller();
  const start = performance.now();
  tell({ phase: "inspect", loaded: 0, total: 0 });
  const inspection = await inspectKernel(files.kernel);
  const inspected = performance.now();
  post({ kind: "inspected", inspection });
  // Decompressing may take its time before it tells how far it is.
  if (inspection.compression !== undefined) tell({ phase: "decompress", loaded: 0, total: 0 });

  const isArm64 = (inspection.inside ?? inspection).architecture === "aarch64";
  const options = loadOptions(files, choices, isArm64);
  const plan = await planLinux({ ...options, memory: choices.memoryBytes, onProgress: tell });
  try {
    const planned = performance.now();
    const importer = new GuestMemoryImporter(GuestMemory.create(plan.layout));
    await applyPlan(plan, importer, { onProgress: tell });
    const guest = new LinuxGuest(importer, plan);
    const times = {
      inspect: inspected - start,
      plan: planned - inspected,
      load: performance.now() - planned,
    };
    tell({ phase: "check", loaded: 0, total: 0 });
    loaded = guest;
    const isBareTree = isArm64 && files.deviceTree === undefined;
    const unpacked = await unpackedKernel(plan, inspection);
    post({ kind: "loaded", guest: viewOf(guest, plan, inspection, { isBareTree, unpacked, times }) });
  } finally {
    plan.close();
  }
}

/** The two files of an export, the same bytes as the command's. */
function exportGuest(guest: LinuxGuest): void {
  const parts: BlobPart[] = [];
  const exported: ExportedRegion[] = [];
  let offset = 0;
  for (const region of guest.regions) {
    const start = offset;
    for (const view of regionViews(guest, region)) {
      // A Blob takes a copy: of a view that may change there is nothing to keep.
      parts.push(view.slice());
      offset += view.byteLength;
    }
    exported.push({ region, offset: start, fileLength: offset - start });
  }
  const manifest = new Blob([exportManifest(guest, exported)], { type: "application/json" });
  post({ kind: "exported", manifest, memory: new Blob(parts, { type: "application/octet-stream" }) });
}

self.addEventListener("message", ({ data }: MessageEvent<InspectorRequest>) => {
  if (data.kind === "load") {
    load(data.files, data.choices).catch((error: unknown) =>
      post({ kind: "failed", problem: problemOf(error) }),
    );
  } else if (loaded !== undefined) {
    if (data.kind === "export") exportGuest(loaded);
    else post({ ...data, bytes: loaded.memory.read(data.address, data.byteLength) });
  }
});
