/** Messages between the page and its workers: plain data, so that it can be posted. */
import type { EntryMode, GuestArchitecture, LoadProgress, X86Entry } from "directboot";
import type {
  GdtEntry,
  InspectedField,
  KernelInspection,
  MemoryMap,
  RegisterDescription,
} from "directboot/inspect";
import type { PageTableView } from "./inspection.js";

/** The chosen files. */
export interface KernelFiles {
  readonly kernel: File;
  readonly initrds: readonly File[];
  readonly deviceTree: File | undefined;
}

/** The user's choices for the machine; undefined is the library's default. */
export interface Choices {
  readonly memoryBytes: number;
  readonly commandLine: string;
  readonly entry: X86Entry | undefined;
  readonly decompress: "host" | "guest" | undefined;
  readonly decompressInitrd: boolean;
}

/** An error, for people. */
export interface Problem {
  /** undefined for what is no DirectBootError. */
  readonly code: string | undefined;
  /** The problem, with the value and the limit. */
  readonly what: string;
  /** The cure. */
  readonly cure: string | undefined;
  /** The meaning of the code. */
  readonly meaning: string | undefined;
}

/** How far the work is: the library's, and before and after it the page's own. */
export interface Progress extends Omit<LoadProgress, "phase"> {
  readonly phase: LoadProgress["phase"] | "inspect" | "check";
}

/** Pages of the guest, and what was put there. */
export interface RegionView {
  readonly start: bigint;
  readonly end: bigint;
  readonly tag: string;
  readonly acceptance: string;
  /** Bytes from the start that hold data; zeros follow. */
  readonly dataLength: number;
  readonly crc32: number;
  /** The kernel's program headers whose bytes lie in it: one, or more that share a page. */
  readonly segments: readonly RegionSegment[];
}

/** A program header, as it is named beside a region. */
export interface RegionSegment {
  /** In the table of program headers. */
  readonly index: number;
  /** By what may be done with it: "code", "data". */
  readonly name: string;
  readonly flags: string;
  readonly virtualAddress: string;
}

/** What the kernel is told in memory: the zero page, or PVH's start info. */
export interface ToldView {
  readonly kind: "zero page" | "start info";
  readonly address: bigint;
  readonly fields: readonly InspectedField[];
}

/** How long each step took, milliseconds. */
export interface Times {
  readonly inspect: number;
  readonly plan: number;
  readonly load: number;
  readonly check: number;
}

/** A loaded guest, without its memory. */
export interface GuestView {
  readonly architecture: GuestArchitecture;
  readonly entryMode: EntryMode;
  readonly entry: bigint;
  readonly kernel: { readonly start: bigint; readonly size: bigint };
  readonly initrd: { readonly start: bigint; readonly size: bigint } | undefined;
  readonly deviceTree: { readonly start: bigint; readonly end: bigint } | undefined;
  /** A tree that the page made, since none was given. */
  readonly isBareTree: boolean;
  readonly decompression:
    | { readonly by: string; readonly format: string; readonly compressedBytes: number | undefined }
    | undefined;
  readonly ram: readonly { readonly start: bigint; readonly end: bigint }[];
  readonly regions: readonly RegionView[];
  readonly map: MemoryMap;
  /** The kernel that the host unpacked out of a bzImage. */
  readonly unpacked: KernelInspection | undefined;
  readonly told: ToldView | undefined;
  readonly gdt: readonly GdtEntry[];
  readonly registers: readonly RegisterDescription[];
  readonly pageTables: PageTableView | undefined;
  readonly times: Times;
  /** Which hot paths of directboot ran. */
  readonly hotPaths: "wasm" | "javascript";
}

/** From the page to the inspecting worker: one load, then exports of it and looks at its memory. */
export type InspectorRequest =
  | { readonly kind: "load"; readonly files: KernelFiles; readonly choices: Choices }
  | { readonly kind: "export" }
  | { readonly kind: "bytes"; readonly address: bigint; readonly byteLength: number };

/** From the inspecting worker. */
export type InspectorEvent =
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "inspected"; readonly inspection: KernelInspection }
  | { readonly kind: "loaded"; readonly guest: GuestView }
  | { readonly kind: "exported"; readonly manifest: Blob; readonly memory: Blob }
  | { readonly kind: "bytes"; readonly address: bigint; readonly bytes: Uint8Array }
  | { readonly kind: "failed"; readonly problem: Problem };

/** From the page to the emulator's worker, once. */
export interface BootRequest {
  readonly files: KernelFiles;
  readonly choices: Choices;
}

/** From the page to the emulator's worker, later: what is typed. */
export interface EmulatorInput {
  readonly kind: "input";
  readonly text: string;
}

/** From the emulator's worker. */
export type EmulatorEvent =
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "started"; readonly entry: bigint }
  | { readonly kind: "output"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "reset" }
  | { readonly kind: "failed"; readonly problem: Problem };
