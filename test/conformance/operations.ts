/** Golden's ops, each as calls of directboot's public functions. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type BootPageAcceptance,
  type ByteInput,
  crc32,
  FileSource,
  type ImageLoad,
  type LoadInfo,
  MemoryLayout,
  MemoryRange,
} from "../../src/index.js";
import {
  type AcpiConfig,
  alignUpTo1GbPageSize,
  alignUpToLargePageSize,
  alignUpToPageSize,
  buildPageTables64,
  buildZeroPage,
  ChunkBuf,
  type ConfigOptions,
  computeVariableMtrrs,
  type InitrdConfig,
  importDefaultGdt,
  loadConfig,
  loadKernelAndInitrdArm64,
  loadKernelAndInitrdX64,
  loadStaticElf,
  loadX86,
  setDirectBootRegistersArm64,
} from "../../src/loader.js";
import { hex, PAGE_BYTES, parseInteger, parseRange, readBlob, sha256 } from "./blobs.js";
import { asArray, asString, type JsonObject, type JsonValue, Unusable } from "./json.js";
import { registerToJson } from "./tracing-importer.js";

/** One op with its parameters read: may be run many times, into any importer. */
export type Run = (importer: ImageLoad) => JsonValue;

export interface Operation {
  readonly op: string;
  readonly run: Run;
  /** `importer=strict` */
  readonly isStrict: boolean;
  readonly failAt: bigint | undefined;
}

/** Hands out an image's bytes; `reader=file` as a FileSource or a path, in turns. */
type Image = <T>(use: (input: ByteInput) => T) => T;

const ACCEPTANCES: readonly BootPageAcceptance[] = [
  "Exclusive",
  "ExclusiveUnmeasured",
  "VpContext",
  "ErrorPage",
  "SecretsPage",
  "CpuidPage",
  "CpuidExtendedStatePage",
  "Shared",
];

/** Parameters of a scenario. Each must be asked for: one that nobody knows changes what is tested. */
class Params {
  readonly #values: JsonObject;
  readonly #root: string;
  readonly #scratch: string;
  readonly #asked = new Set<string>();

  constructor(values: JsonObject, root: string, scratch: string) {
    this.#values = values;
    this.#root = root;
    this.#scratch = scratch;
  }

  #get(name: string): JsonValue | undefined {
    this.#asked.add(name);
    return Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
  }

  /** Throws if the scenario has a parameter that was not asked for. */
  finish(): void {
    const unknown = Object.keys(this.#values).filter((name) => !this.#asked.has(name));
    if (unknown.length > 0) throw new Unusable(`unknown parameter ${unknown.join(", ")}`);
  }

  /** A parameter that has no effect here. */
  ignore(name: string): void {
    this.#asked.add(name);
  }

  text(name: string): string | undefined {
    const value = this.#get(name);
    return value === undefined ? undefined : asString(value, name);
  }

  need(name: string): string {
    const text = this.text(name);
    if (text === undefined) throw new Unusable(`parameter ${name} is missing`);
    return text;
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const choice = choices.find((known) => known === text);
    if (choice === undefined) throw new Unusable(`${name}: ${text} is none of ${choices.join(", ")}`);
    return choice;
  }

  integer(name: string): bigint | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : parseInteger(text, name);
  }

  needInteger(name: string): bigint {
    return parseInteger(this.need(name), name);
  }

  ranges(name: string): { start: bigint; end: bigint; vnode?: number }[] {
    const value = this.#get(name);
    if (value === undefined) return [];
    return asArray(value, name).map((entry) => parseRange(asString(entry, name), name));
  }

  blob(name: string): Uint8Array | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : readBlob(this.#root, text, name);
  }

  needBlob(name: string): Uint8Array {
    const bytes = this.blob(name);
    if (bytes === undefined) throw new Unusable(`parameter ${name} is missing`);
    return bytes;
  }

  image(name: string): Image {
    const bytes = this.needBlob(name);
    if ((this.oneOf("reader", ["cursor", "file"]) ?? "cursor") === "cursor") return (use) => use(bytes);
    const path = join(this.#scratch, name);
    let isPath = false;
    return (use) => {
      // Written anew each time: the next scenario's image has the same name.
      writeFileSync(path, bytes);
      isPath = !isPath;
      if (isPath) return use(path);
      const source = new FileSource(path);
      try {
        return use(source);
      } finally {
        source.close();
      }
    };
  }

  /** A function that makes the layout: making it can be what fails. */
  layout(): () => MemoryLayout {
    const gaps = this.ranges("gap");
    const ram = this.ranges("ram");
    const ramSize = this.integer("ram_size");
    return () => {
      const mmio = gaps.map(({ start, end }) => new MemoryRange(start, end));
      return new MemoryLayout(ramSize ?? ram, mmio);
    };
  }

  initrd(): InitrdConfig | undefined {
    const initrd = this.blob("initrd");
    const address = this.text("initrd_addr") ?? "after";
    if (initrd === undefined) return undefined;
    const initrdAddress = address === "after" ? "AfterKernel" : parseInteger(address, "initrd_addr");
    return { initrd, initrdAddress };
  }

  commandLine(): string | Uint8Array {
    const text = this.text("cmdline");
    // Bytes that are no UTF-8 can't stand in JSON: a file overrides the text.
    const bytes = this.blob("cmdline_file");
    if (bytes !== undefined) return bytes;
    if (text === undefined) throw new Unusable("parameter cmdline is missing");
    return text;
  }

  config(): () => ConfigOptions {
    const commandLine = { address: this.needInteger("cmdline_addr"), commandLine: this.commandLine() };
    const acpi: AcpiConfig = {
      rdspAddress: this.needInteger("rdsp_addr"),
      rdsp: this.blob("rdsp") ?? new Uint8Array(0),
      tablesAddress: this.needInteger("tables_addr"),
      tables: this.blob("tables") ?? new Uint8Array(0),
    };
    const registers = {
      gdtAddress: this.needInteger("gdt_addr"),
      pageTableAddress: this.needInteger("page_table_addr"),
    };
    const address = this.needInteger("zero_page_addr");
    const acpiBaseAddress = this.needInteger("acpi_base");
    const acpiLength = this.needInteger("acpi_len");
    const layout = this.layout();
    return () => ({
      commandLine,
      zeroPage: { address, memoryLayout: layout(), acpiBaseAddress, acpiLength },
      acpi,
      registers,
    });
  }

  kernel(): { gpa: bigint; size: bigint; entrypoint: bigint } {
    return {
      gpa: this.integer("kernel_gpa") ?? 0n,
      size: this.integer("kernel_size") ?? 0n,
      entrypoint: this.integer("kernel_entry") ?? 0n,
    };
  }

  /** Two integers that come together or not at all. */
  pair(first: string, second: string): [bigint, bigint] | undefined {
    const a = this.integer(first);
    const b = this.integer(second);
    if (a === undefined && b === undefined) return undefined;
    if (a === undefined || b === undefined) throw new Unusable(`${first} and ${second} need each other`);
    return [a, b];
  }

  /** A gap's bounds; `none` is the empty range 0..0. */
  gap(name: string): () => MemoryRange {
    const text = this.need(name);
    if (text === "none") return () => MemoryRange.EMPTY;
    const { start, end } = parseRange(text, name);
    return () => new MemoryRange(start, end);
  }
}

function loadInfoToJson({ kernel, initrd, dtb }: LoadInfo): JsonObject {
  return {
    kernel: { gpa: hex(kernel.gpa), size: hex(kernel.size), entrypoint: hex(kernel.entrypoint) },
    initrd: initrd === undefined ? null : { gpa: hex(initrd.gpa), size: hex(initrd.size) },
    dtb: dtb === undefined ? null : { start: hex(dtb.start), end: hex(dtb.end) },
  };
}

/** Maximal runs of bytes that are not zero. */
function nonzeroRuns(bytes: Uint8Array): JsonValue[] {
  const runs: JsonValue[] = [];
  for (let start = 0; start < bytes.length; start++) {
    if (bytes[start] === 0) continue;
    let end = start;
    while (end < bytes.length && bytes[end] !== 0) end++;
    runs.push({ offset: start, hex: Buffer.from(bytes.subarray(start, end)).toString("hex") });
    start = end;
  }
  return runs;
}

// Where boot_params holds its e820 map (asm/bootparam.h); written out here, not taken from src/.
const E820_ENTRIES = 0x1e8;
const E820_TABLE = 0x2d0;

function zeroPageToJson(page: Uint8Array): JsonObject {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const count = view.getUint8(E820_ENTRIES);
  const e820 = Array.from({ length: count }, (_, i) => {
    const at = E820_TABLE + i * 20;
    return {
      addr: hex(view.getBigUint64(at, true)),
      size: hex(view.getBigUint64(at + 8, true)),
      type: view.getUint32(at + 16, true),
    };
  });
  return { sha256: sha256(page), e820Entries: count, e820, nonzero: nonzeroRuns(page) };
}

function tablesToJson(bytes: Uint8Array): JsonObject {
  const tables: JsonValue[] = [];
  for (let start = 0; start < bytes.byteLength; start += PAGE_BYTES) {
    const table = bytes.subarray(start, start + PAGE_BYTES);
    const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
    const entries: JsonValue[] = [];
    for (let i = 0; i < table.byteLength / 8; i++) {
      const entry = view.getBigUint64(i * 8, true);
      if (entry !== 0n) entries.push([i, hex(entry)]);
    }
    tables.push({
      sha256: sha256(table),
      nonzero: entries.length,
      first: entries.slice(0, 8),
      last: entries.at(-1) ?? null,
    });
  }
  return { length: bytes.byteLength, sha256: sha256(bytes), tables };
}

/** Ops that import: they know `importer` and `fail_at`. */
const IMPORTING: Readonly<Record<string, (params: Params) => Run>> = {
  load_static_elf: (params) => {
    const image = params.image("kernel");
    // Only the loader that streams is ours; golden marks the older, buffered one as skipped.
    params.oneOf("impl", ["streaming"]);
    const arch = params.oneOf("arch", ["x86_64", "aarch64", "arm64"]);
    const startAddress = params.needInteger("start");
    const loadOffset = params.integer("load_offset");
    const assumePic = params.integer("assume_pic");
    const acceptance = params.oneOf("acceptance", ACCEPTANCES);
    const tag = params.text("tag");
    return (importer) =>
      image((input) => {
        const info = loadStaticElf(importer, {
          image: input,
          startAddress,
          // What the scenario leaves out is left out here: the defaults are part of what is tested.
          ...(loadOffset === undefined ? {} : { loadOffset }),
          ...(assumePic === undefined ? {} : { assumePic: assumePic !== 0n }),
          ...(acceptance === undefined ? {} : { acceptance }),
          ...(tag === undefined ? {} : { tag }),
          ...(arch === undefined ? {} : { architecture: arch === "x86_64" ? "x86_64" : "aarch64" }),
        });
        return {
          minimumAddressUsed: hex(info.minimumAddressUsed),
          nextAvailableAddress: hex(info.nextAvailableAddress),
          entrypoint: hex(info.entrypoint),
        };
      });
  },

  load_kernel_and_initrd_x64: (params) => {
    const image = params.image("kernel");
    const kernelMinimumStartAddress = params.needInteger("min_start");
    const initrd = params.initrd();
    return (importer) =>
      image((kernel) =>
        loadInfoToJson(loadKernelAndInitrdX64(importer, { kernel, kernelMinimumStartAddress, initrd })),
      );
  },

  load_config: (params) => {
    const config = params.config();
    const kernel = params.kernel();
    const initrd = params.pair("initrd_gpa", "initrd_size");
    return (importer) => {
      const info =
        initrd === undefined ? { kernel } : { kernel, initrd: { gpa: initrd[0], size: initrd[1] } };
      loadConfig(importer, info, config());
      return null;
    };
  },

  load_x86: (params) => {
    const image = params.image("kernel");
    const kernelMinimumStartAddress = params.needInteger("min_start");
    const initrd = params.initrd();
    const config = params.config();
    return (importer) =>
      image((kernel) =>
        loadInfoToJson(loadX86(importer, { kernel, kernelMinimumStartAddress, initrd, ...config() })),
      );
  },

  load_kernel_and_initrd_arm64: (params) => loadArm64(params, () => {}),

  boot_arm64: (params) => loadArm64(params, setDirectBootRegistersArm64),

  set_direct_boot_registers_arm64: (params) => {
    const kernel = params.kernel();
    const dtb = params.pair("dtb_start", "dtb_end");
    return (importer) => {
      const info = dtb === undefined ? { kernel } : { kernel, dtb: { start: dtb[0], end: dtb[1] } };
      setDirectBootRegistersArm64(importer, info);
      return null;
    };
  },

  import_default_gdt: (params) => {
    const gdtPageBase = params.needInteger("gdt_page_base");
    return (importer) => {
      importDefaultGdt(importer, gdtPageBase);
      return null;
    };
  },

  import_file_region: (params) => {
    const image = params.image("file");
    const fileOffset = params.needInteger("file_offset");
    const fileLength = params.needInteger("file_length");
    const gpa = params.needInteger("gpa");
    const memoryLength = params.needInteger("memory_length");
    const acceptance = params.oneOf("acceptance", ACCEPTANCES) ?? "Exclusive";
    const tag = params.text("tag") ?? "test";
    const makeBuffer = chunkBuffer(params);
    const times = params.integer("repeat") ?? 1n;
    return (importer) =>
      image((file) => {
        const buffer = makeBuffer();
        for (let i = 0n; i < times; i++) {
          // What an earlier import left in the buffer must not show, whatever that was.
          buffer.bytes.fill(0xaa);
          buffer.importFileRegion(importer, {
            file,
            fileOffset,
            fileLength,
            gpa,
            memoryLength,
            acceptance,
            tag,
          });
        }
        // Upstream's result is the file position that it leaves: our sources have none.
        return {};
      });
  },
};

/** Ops that only compute. */
const COMPUTING: Readonly<Record<string, (params: Params) => () => JsonValue>> = {
  align: (params) => {
    const address = params.needInteger("address");
    return () => ({
      page: hex(alignUpToPageSize(address)),
      largePage: hex(alignUpToLargePageSize(address)),
      gbPage: hex(alignUpTo1GbPageSize(address)),
    });
  },

  memory_layout: (params) => {
    const layout = params.layout();
    return () => {
      const { ram, endOfRam, ramSize } = layout();
      return {
        ram: ram.map(({ range, vnode }) => ({ start: hex(range.start), end: hex(range.end), vnode })),
        endOfRam: hex(endOfRam),
        ramSize: hex(ramSize),
      };
    };
  },

  build_zero_page: (params) => {
    const commandLine = { address: params.needInteger("cmdline_addr"), commandLine: params.commandLine() };
    const acpiBase = params.needInteger("acpi_base");
    const acpiLength = params.needInteger("acpi_len");
    const initrdBase = params.needInteger("initrd_base");
    const initrdSize = params.needInteger("initrd_size");
    const layout = params.layout();
    return () =>
      zeroPageToJson(
        buildZeroPage({
          memoryLayout: layout(),
          acpiBase,
          acpiLength,
          commandLine,
          initrdBase,
          initrdSize,
        }),
      );
  },

  build_page_tables_64: (params) => {
    const pageTableGpa = params.needInteger("page_table_gpa");
    const gibibytes = params.needInteger("size_gb");
    if (gibibytes !== 4n && gibibytes !== 8n) throw new Unusable(`size_gb: ${gibibytes} is neither 4 nor 8`);
    const addressBias = params.integer("address_bias");
    const link = params.pair("link_target", "linkage_gpa");
    return () =>
      tablesToJson(
        buildPageTables64({
          pageTableGpa,
          size: gibibytes === 4n ? "4GiB" : "8GiB",
          ...(addressBias === undefined ? {} : { addressBias }),
          ...(link === undefined ? {} : { pml4eLink: { linkTargetGpa: link[0], linkageGpa: link[1] } }),
        }),
      );
  },

  crc32: (params) => {
    const image = params.image("file");
    const bytes = params.needBlob("file");
    const length = params.needInteger("len");
    const makeBuffer = chunkBuffer(params);
    params.ignore("start_position");
    return () => {
      const crc = image((file) => makeBuffer().crc32(file, length));
      // Both ways to a CRC must agree; where they don't, both are shown, and neither is what is expected.
      const whole = crc32(bytes.subarray(0, Number(length)));
      return { crc32: crc === whole ? hex(crc) : `ChunkBuf.crc32 ${hex(crc)}, crc32() ${hex(whole)}` };
    };
  },

  compute_variable_mtrrs: (params) => {
    const layout = params.layout();
    const width = params.needInteger("width");
    const low = params.gap("low_mmio");
    const high = params.gap("high_mmio");
    return () => {
      const memory = layout();
      const registers = computeVariableMtrrs(memory, Number(width), low(), high());
      return {
        endOfRam: hex(memory.endOfRam),
        registers: registers.map((register) => {
          const { op: _, ...rest } = registerToJson(register);
          return rest;
        }),
      };
    };
  },
};

function loadArm64(params: Params, then: (importer: ImageLoad, info: LoadInfo) => void): Run {
  const image = params.image("kernel");
  const kernelMinimumStartAddress = params.needInteger("min_start");
  const initrd = params.initrd();
  const deviceTree = params.blob("dtb");
  return (importer) =>
    image((kernel) => {
      const info = loadKernelAndInitrdArm64(importer, {
        kernel,
        kernelMinimumStartAddress,
        initrd,
        deviceTree,
      });
      then(importer, info);
      return loadInfoToJson(info);
    });
}

function chunkBuffer(params: Params): () => ChunkBuf {
  const size = params.integer("chunk_size");
  return () => (size === undefined ? new ChunkBuf() : new ChunkBuf(Number(size)));
}

/**
 * Reads a scenario's parameters.
 *
 * @param root the folder that blobs' paths are relative to
 * @param scratch a folder for temporary files
 * @throws Unusable for an unknown op, parameter or value
 */
export function readOperation(values: JsonObject, root: string, scratch: string): Operation {
  const params = new Params(values, root, scratch);
  const op = params.need("op");
  const importing = Object.hasOwn(IMPORTING, op) ? IMPORTING[op] : undefined;
  const computing = Object.hasOwn(COMPUTING, op) ? COMPUTING[op] : undefined;
  if (importing !== undefined) {
    const run = importing(params);
    const isStrict = params.oneOf("importer", ["strict"]) !== undefined;
    const failAt = params.integer("fail_at");
    params.finish();
    return { op, run, isStrict, failAt };
  }
  if (computing !== undefined) {
    const run = computing(params);
    params.finish();
    return { op, run, isStrict: false, failAt: undefined };
  }
  throw new Unusable(`unknown op ${op}`);
}
