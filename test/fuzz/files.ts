/** Files to begin with: headers of Debian's kernels, golden inputs, made files, streams of the real tools. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { compress, type Method, ONE_OF_EACH } from "../decoders/tools.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { machineTree, makeDeviceTree } from "../support/device-tree-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { bzImageAround, compressible, makeImage, withTrailer } from "../support/packed-kernels.js";
import { inRoot } from "../support/paths.js";
import { noise } from "../support/sources.js";
import { makeZboot } from "../support/zboot-maker.js";
import { type Field, fieldsOf, type Seed } from "./mutants.js";

/** Some bytes of a kernel that Debian ships. */
function realHeader(name: string): Uint8Array<ArrayBuffer> {
  const all: Record<string, { base64: string } | undefined> = JSON.parse(
    readFileSync(inRoot("test/fuzz/files/real-headers.json"), "utf8"),
  );
  return Uint8Array.from(Buffer.from(all[name]?.base64 ?? "", "base64"));
}

/** The golden inputs whose names begin so. Of large ones, zeros for the most part, the beginning. */
function golden(prefix: string): Uint8Array[] {
  const folder = inRoot("test/golden/inputs");
  const names = readdirSync(folder).filter((name) => name.startsWith(prefix));
  return names.sort().map((name) => Uint8Array.from(readFileSync(`${folder}/${name}`)).slice(0, 16_384));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.concat(parts));
}

/** Fields of an ELF whose program headers follow its header, and of a note. */
export function elfFields(bytes: Uint8Array, notesAt?: number): Field[] {
  const is64 = bytes[4] === 2;
  const fields = is64
    ? fieldsOf("4:1 5:1 6:1 16:2 18:2 24:8 32:8 40:8 54:2 56:2 58:2")
    : fieldsOf("4:1 5:1 18:2 24:4 28:4 32:4 42:2 44:2 46:2");
  const count = Math.min(bytes[is64 ? 56 : 44] ?? 0, 8);
  for (let i = 0; i < count; i++) {
    const header = is64
      ? fieldsOf("0:4 4:4 8:8 16:8 24:8 32:8 40:8 48:8", 64 + 56 * i)
      : fieldsOf("0:4 4:4 8:4 12:4 16:4 20:4 24:4 28:4", 52 + 32 * i);
    fields.push(...header);
  }
  if (notesAt !== undefined) fields.push(...fieldsOf("0:4 4:4 8:4", notesAt));
  return fields;
}

/** Xen's note with an entry (XEN_ELFNOTE_PHYS32_ENTRY is 18). */
function pvhNote(entry: Uint8Array, type = 18): Uint8Array {
  const bytes = new Uint8Array(16 + Math.ceil(entry.length / 4) * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 4, true);
  view.setUint32(4, entry.length, true);
  view.setUint32(8, type, true);
  bytes.set(Buffer.from("Xen\0"), 12);
  bytes.set(entry, 16);
  return bytes;
}

const NOTES_AT = 8000;

/** A small vmlinux at 1 MiB: two segments that share a page, and a note. */
export function smallElf(
  is64: boolean,
  note = pvhNote(Uint8Array.of(0x40, 0, 0x10, 0)),
): Uint8Array<ArrayBuffer> {
  const at = 0x10_0000n;
  const fill = compressible(9000);
  fill.fill(0, NOTES_AT, NOTES_AT + 64).set(note, NOTES_AT);
  const shape = {
    entry: at + 0x40n,
    fill,
    byteLength: 9000,
    segments: [
      { offset: 4096n, vaddr: at, paddr: at, filesz: 2000n, memsz: 4096n },
      { offset: 6200n, vaddr: at + 4104n, paddr: at + 4104n, filesz: 1500n, memsz: 9000n },
      { type: 4, offset: BigInt(NOTES_AT), filesz: BigInt(note.length), align: 4n },
    ],
  };
  return is64 ? makeElf(shape) : makeElf32(shape);
}

function elfSeed(bytes: Uint8Array, notesAt?: number): Seed {
  return { bytes, fields: elfFields(bytes, notesAt) };
}

export function elfSeeds(): Seed[] {
  const notes = [pvhNote(new Uint8Array(8)), pvhNote(new Uint8Array(3)), pvhNote(new Uint8Array(4), 5)];
  // e_phnum is 0xffff: the count lies in section 0.
  const many = makeElf({
    segments: [{ filesz: 8n, memsz: 8n }],
    phnum: 0xffff,
    shoff: 256n,
    byteLength: 512,
  });
  new DataView(many.buffer).setUint32(256 + 44, 1, true);
  return [
    ...golden("elf").map((bytes) => elfSeed(bytes)),
    ...["vmlinuxAmd64", "vmlinuxI386"].map((name) =>
      elfSeed(concat(realHeader(name), realHeader(`${name}Notes`))),
    ),
    ...[true, false].flatMap((is64) => [
      elfSeed(smallElf(is64), NOTES_AT),
      ...notes.map((note) => elfSeed(smallElf(is64, note), NOTES_AT)),
    ]),
    { bytes: many, fields: [...elfFields(many.slice(0, 60)), ...fieldsOf("300:4")] },
  ];
}

/** setup_sects, syssize, boot_flag, jump, magic, version, …, of the setup header. */
const BZIMAGE_FIELDS = fieldsOf(
  "497:1 498:2 500:4 506:2 510:2 513:1 514:4 518:2 526:2 528:1 529:1 532:4 556:4 560:4 564:1 565:1 566:2 568:4 572:4 " +
    "584:4 588:4 592:8 600:8 608:4 612:4 616:4",
);

/** pref_address, kernel_alignment and init_size of a kernel that fits a small guest. */
const BZIMAGE_PLACE = [
  [0x230, 4, 0x1000],
  [0x258, 8, 0x10_0000n],
  [0x260, 4, 0x8000],
] as const;

export function bzImageSeeds(): Seed[] {
  const code = new Uint8Array(1024).fill(0xcc);
  code.set([0x1f, 0x8b, 8], 0x100);
  // kernel_info with setup_indirect.
  code.set(Buffer.from("LToP"), 0x80);
  code.set([9, 0, 0, 0x80], 0x8c);
  const trailer = new Uint8Array(40).fill(7);
  const made = [
    0x1ff, 0x200, 0x201, 0x202, 0x204, 0x205, 0x206, 0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20f,
  ];
  const real = ["bzImageAmd64", "bzImageI386"].map((name) => {
    const bytes = makeBzImage({ setupSects: 39, code: new Uint8Array(512) });
    bytes.set(realHeader(name), 0x1f1);
    return bytes;
  });
  return [
    ...made.map((version) =>
      makeBzImage({
        ...{ version, code, trailer, payloadOffset: 0x100, payloadLength: 0x200 },
        fields: [
          [0x20e, 2, 0x80],
          [0x268, 4, 0x80],
        ],
      }),
    ),
    ...real,
    makeBzImage({ setupSects: 0, code }),
    makeBzImage({ byteLength: 0x268 }),
  ].map((bytes) => ({ bytes, fields: BZIMAGE_FIELDS }));
}

const IMAGE_FIELDS = fieldsOf("0:4 4:4 8:8 16:8 24:8 32:8 56:4 60:4");

export function arm64Seeds(): Seed[] {
  const real = realHeader("imageArm64");
  const all = [...golden("arm"), real, concat(real, new Uint8Array(500)), makeImage(12_000, 40_000)];
  return all.map((bytes) => ({ bytes, fields: IMAGE_FIELDS }));
}

const ZBOOT_FIELDS = fieldsOf("0:2 4:4 8:4 12:4 24:8 56:4 60:4 68:2");

export function zbootSeeds(): Seed[] {
  return ["gzip", "zstd22", "xzkern", "x", ""].flatMap((compression) =>
    [{ compression }, { compression, linuxMagic: 0 }].map((shape) => ({
      bytes: makeZboot(shape),
      fields: ZBOOT_FIELDS,
    })),
  );
}

const TREES = [
  `memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x800000>; };
   chosen { bootargs = "quiet"; linux,initrd-start = <0 0x44000000>; inner { bootargs = "no"; }; };
   reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
     a { reg = <0 0x40100000 0 0x1000>; }; b { reg = <0xffffffff 0xfffff000 0xffffffff 0>; status = "disabled"; }; };`,
  `memory@0 { device_type = "memory"; reg = <0 0 0 0x1000000 0 0x8000000 0 0>; };
   memory@1 { device_type = "memory"; reg = <0xffffffff 0xfffff000 0 0x1001>; status = "okay"; };`,
  `#address-cells = <1>; #size-cells = <0>; memory { device_type = "memory"; reg = <1 2 3>; };`,
  "",
];

export function deviceTreeSeeds(): Seed[] {
  const sources = TREES.map(
    (text) => `/dts-v1/; /memreserve/ 0x1000 0x1000; / { #address-cells = <2>; #size-cells = <2>; ${text} };`,
  );
  const deep = (levels: number): string => `/dts-v1/; / { ${"n { ".repeat(levels)}${"};".repeat(levels)} };`;
  const compiled = [...sources, deep(62), deep(65)].map((input) =>
    Uint8Array.from(
      execFileSync("dtc", ["-f", "-q", "-O", "dtb"], { input, stdio: ["pipe", "pipe", "ignore"] }),
    ),
  );
  const [ram, top] = [
    { start: 0x4000_0000n, end: 0x4080_0000n },
    { start: (1n << 64n) - 4096n, end: 1n << 64n },
  ];
  const made = [makeDeviceTree(13, 1), machineTree([ram], { reserved: [top] })];
  return [...compiled, ...made].map((bytes) => {
    const words = Array.from({ length: bytes.length >> 2 }, (_, i) => `${4 * i}:4`).join(" ");
    return { bytes: Uint8Array.from(bytes), fields: fieldsOf(words, 0, true) };
  });
}

/** Places at the beginning and the end of a stream that decide how it is decoded. */
export function streamFields(length: number, base = 0): Field[] {
  const bytes = Array.from({ length: 48 }, (_, i) => `${i}:1 ${i}:4`).join(" ");
  const end = Array.from({ length: 8 }, (_, i) => `${Math.max(0, length - 4 * (i + 1))}:4`).join(" ");
  return fieldsOf(`${bytes} ${end}`, base);
}

/** A kernel file that is compressed as a whole. */
export function packedFile(method: Method, kernel: Uint8Array): Seed {
  const bytes = compress(method, kernel);
  return { bytes, fields: streamFields(bytes.length) };
}

function packedBzImage(method: Method, vmlinux: Uint8Array): Seed {
  const payload = withTrailer(method, compress(method, vmlinux), vmlinux.length);
  const bytes = bzImageAround({ payload, fields: BZIMAGE_PLACE });
  return { bytes, fields: [...BZIMAGE_FIELDS, ...streamFields(payload.length, 0x400 + 0x2c0)] };
}

function packedZboot(method: Method, image: Uint8Array): Seed {
  const stream = compress(method, image);
  const payload = withTrailer(method, stream, image.length);
  const bytes = makeZboot({ compression: method.format, payload, payloadLength: stream.length });
  return { bytes, fields: [...ZBOOT_FIELDS, ...streamFields(payload.length, 96)] };
}

/** Kernels for x86, as they are and in every wrapper. */
export function x86Kernels(): Seed[] {
  const elf = smallElf(true);
  const payload = noise(2000, 3);
  const plain = [3, 0].map((xloadflags) => bzImageAround({ payload, xloadflags, fields: BZIMAGE_PLACE }));
  const [gzip = ONE_OF_EACH[0] as Method, other = gzip] = ONE_OF_EACH;
  const nested = [1, 3, 4].map((depth) => {
    let bytes: Uint8Array = elf;
    for (let i = 0; i < depth; i++) bytes = compress(i % 2 === 0 ? gzip : other, bytes);
    return { bytes, fields: streamFields(bytes.length) };
  });
  return [
    elfSeed(elf, NOTES_AT),
    elfSeed(smallElf(false), NOTES_AT),
    ...plain.map((bytes) => ({ bytes, fields: BZIMAGE_FIELDS })),
    ...ONE_OF_EACH.flatMap((method) => [packedBzImage(method, elf), packedFile(method, elf)]),
    packedBzImage(gzip, smallElf(false)),
    ...nested,
  ];
}

/** Kernels for arm64. */
export function arm64Kernels(): Seed[] {
  const image = makeImage(12_000, 40_000);
  return [
    { bytes: image, fields: IMAGE_FIELDS },
    ...ONE_OF_EACH.flatMap((method) => [packedZboot(method, image), packedFile(method, image)]),
  ];
}

/** Files that hold no kernel. */
export function strangers(): Seed[] {
  return [
    new Uint8Array(0),
    Uint8Array.from(Buffer.from("no kernel at all\n".repeat(40))),
    makeElf({ machine: 243, segments: [{}] }),
  ].map((bytes) => ({ bytes, fields: fieldsOf("0:4") }));
}

/** Initrds: a member, plain and compressed. */
export function initrds(): Seed[] {
  const archive = concat(Buffer.from(`070701${"0".repeat(104)}`), noise(700, 4));
  const bytes = [archive, ...ONE_OF_EACH.map((method) => compress(method, archive))];
  return [...bytes, concat(...bytes), new Uint8Array(0)].map((each) => ({
    bytes: each,
    fields: streamFields(each.length),
  }));
}
