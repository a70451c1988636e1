/** The entries: which values each exports, and that OpenVMM's items (SPEC §1) are in directboot/loader. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as api from "../src/index.js";
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
  TableRegister,
  X86Register,
  ZeroPageConfig,
} from "../src/loader.js";
import * as loader from "../src/loader.js";
import { inRoot } from "./support/paths.js";

const MAIN = [
  ..."loadLinux loadLinuxSync planLinux planLinuxSync applyPlan applyPlanSync planFromTransferable".split(
    " ",
  ),
  ..."detectKernel detectKernelSync extractKernel extractKernelSync LinuxPlan LinuxGuest".split(" "),
  ..."GuestMemory MemoryLayout MemoryRange GuestMemoryImporter RecordingImporter".split(" "),
  ..."DirectBootError ERROR_CODES crc32 hotPaths".split(" "),
  ..."BytesSource FileSource BlobSource responseSource concatSources".split(" "),
  ..."setChosen readDeviceTree memoryOfTree".split(" "),
  ..."machines checkMachine buildAcpiTables buildMpTable buildSmbios".split(" "),
];

const LOADER = [
  "loadKernelAndInitrdArm64Async",
  "loadKernelAndInitrdX64Async",
  "loadStaticElfAsync",
  "loadX86Async",
  "X64_CR0_PE",
  "X64_CR0_PG",
  "X64_CR4_PAE",
  "X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES",
  "X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES",
  "X64_EFER_LMA",
  "X64_EFER_LME",
  "X64_EFER_NXE",
  "X64_EFER_SCE",
  "X86X_MSR_DEFAULT_PAT",
  // linux.rs
  ..."buildZeroPage loadKernelAndInitrdX64 loadConfig loadX86".split(" "),
  ..."loadKernelAndInitrdArm64 setDirectBootRegistersArm64".split(" "),
  // common.rs
  ..."importDefaultGdt DEFAULT_GDT_SIZE computeVariableMtrrs mtrrMask ChunkBuf".split(" "),
  // the crates that they import
  ..."loadStaticElf ElfLoadInfo Aarch64ImagePageSize buildPageTables64 PageTableBuilder".split(" "),
  ..."alignUpToPageSize alignUpToLargePageSize alignUpTo1GbPageSize HV_PAGE_SIZE".split(" "),
  ..."E820_RAM E820_RESERVED E820_ACPI E820_NVS E820_UNUSABLE".split(" "),
];

test("the main entry exports these values, and no others", () => {
  assert.deepEqual(Object.keys(api).sort(), MAIN.sort());
});

test("directboot/loader exports these values, and no others", () => {
  assert.deepEqual(Object.keys(loader).sort(), LOADER.sort());
});

test("every function and class has the name of its export, in messages, stack traces and the console", () => {
  for (const [name, value] of [...Object.entries(api), ...Object.entries(loader)]) {
    if (typeof value === "function") assert.equal(value.name, name);
  }
});

test("every range may be given in numbers or bigints, and is bigint in results", () => {
  const gap = { start: 0xc000_0000, end: 0x1_0000_0000n };
  const layout = new api.MemoryLayout(2 ** 32, [gap], [], [], { start: 2 ** 33, end: 2 ** 33 + 4096 });
  assert.equal(
    `${layout}; ${layout.mmioGaps}`,
    "0x0-0xc0000000, 0x100000000-0x140000000; 0xc0000000-0x100000000",
  );
  assert.equal(layout.vtl2Range?.start, 1n << 33n);
  assert.ok(layout.isRam({ start: 0, end: 4096 }) && layout.mmioGaps[0]?.overlaps(gap));
  const [register] = loader.computeVariableMtrrs(layout, 40, gap, { start: 0, end: 0 });
  assert.equal(register?.value, 6n);
  const plan = api.planLinuxSync({
    kernel: inRoot("guests/x86_64.elf"),
    memory: 64 * 1024 * 1024,
    reservations: [{ start: 0x9_f000, end: 0xa_0000, type: 2 }],
  });
  plan.close();
  assert.throws(() => Reflect.construct(api.MemoryLayout, [4096, [5]]), {
    name: "TypeError",
    message: "mmioGaps[0] must be an object with start and end, got 5",
  });
});

test("every type of OpenVMM's has its fields", () => {
  const types: [
    AcpiConfig,
    ZeroPageConfig,
    CommandLineConfig,
    RegisterConfig,
    InitrdConfig,
    readonly InitrdAddressType[],
    KernelInfo,
    InitrdInfo,
    Pick<LoadInfo, "kernel" | "initrd" | "dtb">,
    Aarch64ImageFlags,
    Pick<Aarch64ImageHeader, "textOffset" | "imageSize" | "flags" | "magic">,
    Omit<ImportFileRegion, "file">,
    TableRegister,
    SegmentRegister,
  ] = [
    { rdspAddress: 0, rdsp: new Uint8Array(), tablesAddress: 0, tables: new Uint8Array() },
    { address: 0, memoryLayout: new api.MemoryLayout(4096), acpiBaseAddress: 0, acpiLength: 0 },
    { address: 0n, commandLine: "" },
    { gdtAddress: 0, pageTableAddress: 0 },
    { initrdAddress: "AfterKernel", initrd: new Uint8Array() },
    ["AfterKernel", 0x1000, 0x1000n],
    { gpa: 0n, size: 0n, entrypoint: 0n },
    { gpa: 0n, size: 0n },
    { kernel: { gpa: 0n, size: 0n, entrypoint: 0n }, initrd: undefined, dtb: { start: 0n, end: 0n } },
    { bigEndian: false, pageSize: loader.Aarch64ImagePageSize.PAGE4_K, anyStartAddress: true },
    { textOffset: 0n, imageSize: 0n, flags: 0n, magic: 0 },
    { fileOffset: 0, fileLength: 0, gpa: 0, memoryLength: 0, acceptance: "Exclusive", tag: "" },
    { base: 0n, limit: 0 },
    { base: 0n, limit: 0, selector: 0, attributes: 0 },
  ];
  assert.equal(types.length, 14);
});

test("OpenVMM's constants have its values", () => {
  assert.equal(loader.DEFAULT_GDT_SIZE, 4096n);
  assert.equal(loader.HV_PAGE_SIZE, 4096n);
  assert.deepEqual(loader.Aarch64ImagePageSize, { UNSPECIFIED: 0, PAGE4_K: 1, PAGE16_K: 2, PAGE64_K: 3 });
});

test("every error variant of OpenVMM's has one code, those that are never raised included", () => {
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
  loader.importDefaultGdt(importer, 1);
  assert.deepEqual(acceptances, ["Exclusive"]);
  const registers: Aarch64Register[] = [];
  loader.setDirectBootRegistersArm64(
    { importPages: () => {}, importVpRegister: (register) => void registers.push(register) },
    { kernel: { gpa: 0, size: 0, entrypoint: 0x4020_0000 } },
  );
  assert.equal(registers[0]?.value, 0x4020_0000n);
});

test("a source needs a name, a length and read", () => {
  const source: api.Source = { name: "mine", byteLength: 0, read: async () => {} };
  assert.throws(
    () => api.loadLinuxSync({ kernel: source, memory: 1 << 20 }),
    (error) => error instanceof api.DirectBootError && error.code === "SOURCE_NOT_SYNCHRONOUS",
  );
});
