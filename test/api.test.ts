/** Every item of the seeds (SPEC §1) exists under its name; a type that is missing fails the compilation of this. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type {
  Aarch64ImageFlags,
  Aarch64ImageHeader,
  Aarch64Register,
  AcpiConfig,
  BootPageAcceptance,
  CommandLineConfig,
  ImageLoad,
  ImportFileRegion,
  InitrdAddressType,
  InitrdConfig,
  InitrdInfo,
  KernelInfo,
  LoadInfo,
  RegisterConfig,
  SegmentRegister,
  Source,
  TableRegister,
  X86Register,
  ZeroPageConfig,
} from "../src/index.js";
import * as api from "../src/index.js";

/** One value of each type, so that the compiler looks at its fields. */
const types: {
  AcpiConfig: AcpiConfig;
  ZeroPageConfig: ZeroPageConfig;
  CommandLineConfig: CommandLineConfig;
  RegisterConfig: RegisterConfig;
  InitrdAddressType: readonly InitrdAddressType[];
  InitrdConfig: InitrdConfig;
  KernelInfo: KernelInfo;
  InitrdInfo: InitrdInfo;
  LoadInfo: Pick<LoadInfo, "kernel" | "initrd" | "dtb">;
  Aarch64ImageFlags: Aarch64ImageFlags;
  Aarch64ImageHeader: Pick<Aarch64ImageHeader, "textOffset" | "imageSize" | "flags" | "magic">;
  ImportFileRegion: Omit<ImportFileRegion, "file">;
  TableRegister: TableRegister;
  SegmentRegister: SegmentRegister;
} = {
  AcpiConfig: { rdspAddress: 0, rdsp: new Uint8Array(), tablesAddress: 0, tables: new Uint8Array() },
  ZeroPageConfig: { address: 0, memoryLayout: new api.MemoryLayout(4096), acpiBaseAddress: 0, acpiLength: 0 },
  CommandLineConfig: { address: 0n, commandLine: "" },
  RegisterConfig: { gdtAddress: 0, pageTableAddress: 0 },
  InitrdAddressType: ["AfterKernel", 0x1000, 0x1000n],
  InitrdConfig: { initrdAddress: "AfterKernel", initrd: new Uint8Array() },
  KernelInfo: { gpa: 0n, size: 0n, entrypoint: 0n },
  InitrdInfo: { gpa: 0n, size: 0n },
  LoadInfo: {
    kernel: { gpa: 0n, size: 0n, entrypoint: 0n },
    initrd: undefined,
    dtb: { start: 0n, end: 0n },
  },
  Aarch64ImageFlags: { bigEndian: false, pageSize: api.Aarch64ImagePageSize.PAGE4_K, anyStartAddress: true },
  Aarch64ImageHeader: { textOffset: 0n, imageSize: 0n, flags: 0n, magic: 0 },
  ImportFileRegion: {
    fileOffset: 0,
    fileLength: 0,
    gpa: 0,
    memoryLength: 0,
    acceptance: "Exclusive",
    tag: "",
  },
  TableRegister: { base: 0n, limit: 0 },
  SegmentRegister: { base: 0n, limit: 0, selector: 0, attributes: 0 },
};

test("every type of the seeds is exported, with their fields", () => {
  assert.equal(Object.keys(types).length, 14);
});

const FUNCTIONS = [
  // linux.rs
  "buildZeroPage",
  "loadKernelAndInitrdX64",
  "loadConfig",
  "loadX86",
  "loadKernelAndInitrdArm64",
  "setDirectBootRegistersArm64",
  // common.rs
  "importDefaultGdt",
  "computeVariableMtrrs",
  "mtrrMask",
  "ChunkBuf",
  // what they import
  "loadStaticElf",
  "buildPageTables64",
  "PageTableBuilder",
  "alignUpToPageSize",
  "alignUpToLargePageSize",
  "alignUpTo1GbPageSize",
  "MemoryLayout",
  "MemoryRange",
  // DESIGN §3
  "GuestMemory",
  "GuestMemoryImporter",
  "RecordingImporter",
  "DirectBootError",
  "crc32",
  "loadLinux",
  "loadLinuxSync",
  "planLinux",
  "planLinuxSync",
  "applyPlan",
  "applyPlanSync",
  "detectKernel",
  "detectKernelSync",
] as const satisfies readonly (keyof typeof api)[];

const exported = new Map<string, unknown>(Object.entries(api));
for (const name of FUNCTIONS) {
  test(`${name} is exported`, () => assert.equal(typeof exported.get(name), "function"));
}

test("the constants of the seeds are exported with their values", () => {
  assert.equal(api.DEFAULT_GDT_SIZE, 4096n);
  assert.equal(api.HV_PAGE_SIZE, 4096n);
  assert.deepEqual(api.Aarch64ImagePageSize, { UNSPECIFIED: 0, PAGE4_K: 1, PAGE16_K: 2, PAGE64_K: 3 });
});

test("ChunkBuf has the seeds' methods", () => {
  assert.equal(typeof api.ChunkBuf.prototype.importFileRegion, "function");
  assert.equal(typeof api.ChunkBuf.prototype.crc32, "function");
});

test("every error variant of the seeds has one code, those that are never raised included", () => {
  const variants = {
    Error: ["ElfLoader", "FlatLoader", "UnalignedAddress", "Importer"],
    FlatLoaderError: [
      "BigEndianElfOnLittle",
      "BadImageMagic",
      "BigEndianKernelImage",
      "FourKibPageImageIsRequired",
      "LowMemoryKernel",
      "ReadKernelImage",
      "SeekKernelStart",
      "SeekKernelImage",
    ],
    "elf::Error": [
      "ReadFileHeader",
      "InvalidFileHeader",
      "TargetMachineMismatch",
      "BigEndianElfOnLittle",
      "InvalidEntryAddress",
      "InvalidProgramHeader",
      "LoadOffsetOverflow",
      "InvalidProgramHeaderMemoryOffset",
      "RelocBiasOverflow",
      "ReadKernelImage",
      "ImportFileRegion",
      "SeekKernelImage",
    ],
    ImportFileRegionError: ["FileLengthExceedsMemoryLength", "Seek", "Read", "ImportPages", "Overflow"],
    MemoryLayout: [
      "BadSize",
      "BadNumaSize",
      "EmptyNumaSizes",
      "BadMmioGaps",
      "BadMemoryRanges",
      "Vtl2RangeBeforeEndOfRam",
    ],
    "page_table::Error": [
      "BadBufferSize",
      "NotEnoughMemory",
      "UnsortedMappings",
      "InvalidRange",
      "OverlappingMappings",
      "AttemptedEntryOverwrite",
    ],
  };
  const wanted = Object.entries(variants).flatMap(([type, names]) => names.map((name) => `${type}::${name}`));
  const found = Object.values(api.ERROR_CODES)
    .map(({ openvmm }) => openvmm)
    .filter((openvmm) => openvmm !== undefined);
  assert.deepEqual(found.sort(), wanted.sort());
});

test("an importer needs two methods, and registers of either architecture are one union each", () => {
  const acceptances: BootPageAcceptance[] = [];
  const importer: ImageLoad<X86Register> = {
    importPages: (_base, _count, _tag, acceptance) => void acceptances.push(acceptance),
    importVpRegister: () => {},
  };
  api.importDefaultGdt(importer, 1);
  assert.deepEqual(acceptances, ["Exclusive"]);
  const registers: Aarch64Register[] = [];
  api.setDirectBootRegistersArm64(
    { importPages: () => {}, importVpRegister: (register) => void registers.push(register) },
    { kernel: { gpa: 0, size: 0, entrypoint: 0x4020_0000 } },
  );
  assert.equal(registers[0]?.value, 0x4020_0000n);
});

test("a source needs a name, a length and read", () => {
  const source: Source = { name: "mine", byteLength: 0, read: async () => {} };
  assert.throws(
    () => api.loadLinuxSync({ kernel: source, memory: 1 << 20 }),
    (error) => error instanceof api.DirectBootError && error.code === "SOURCE_NOT_SYNCHRONOUS",
  );
});
