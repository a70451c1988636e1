/** Files to begin with: headers of real kernels, inputs of the golden data, made files. */
import { readdirSync, readFileSync } from "node:fs";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeDeviceTree } from "../support/device-tree-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { inRoot } from "../support/paths.js";
import { makeZboot } from "../support/zboot-maker.js";
import { type Field, fieldsOf, type Seed } from "./mutate.js";

/** A golden input larger than this is made of zeros for the most part, and slow to copy. */
const MOST_SEED_BYTES = 16_384;

interface RealHeader {
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
  readonly base64: string;
}

type RealName =
  | "bzImageAmd64"
  | "bzImageI386"
  | "imageArm64"
  | "vmlinuxAmd64"
  | "vmlinuxAmd64Notes"
  | "vmlinuxI386"
  | "vmlinuxI386Notes";

/** Bytes of a real kernel's file. */
export function realHeader(name: RealName): Uint8Array<ArrayBuffer> {
  const all: Record<RealName, RealHeader> = JSON.parse(
    readFileSync(inRoot("test/fuzz/seeds/real-headers.json"), "utf8"),
  );
  return Uint8Array.from(Buffer.from(all[name].base64, "base64"));
}

/** The golden inputs whose names begin so. */
function golden(prefix: string): { name: string; bytes: Uint8Array }[] {
  const folder = inRoot("test/golden/inputs");
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .sort()
    .map((name) => ({ name, bytes: Uint8Array.from(readFileSync(`${folder}/${name}`)) }))
    .map(({ name, bytes }) => ({ name, bytes: bytes.slice(0, MOST_SEED_BYTES) }));
}

const EHDR64 = [
  ["e_ident.class", 4, 1],
  ["e_ident.data", 5, 1],
  ["e_ident.version", 6, 1],
  ["e_type", 16, 2],
  ["e_machine", 18, 2],
  ["e_entry", 24, 8],
  ["e_phoff", 32, 8],
  ["e_shoff", 40, 8],
  ["e_phentsize", 54, 2],
  ["e_phnum", 56, 2],
  ["e_shentsize", 58, 2],
] as const;
const PHDR64 = [
  ["p_type", 0, 4],
  ["p_flags", 4, 4],
  ["p_offset", 8, 8],
  ["p_vaddr", 16, 8],
  ["p_paddr", 24, 8],
  ["p_filesz", 32, 8],
  ["p_memsz", 40, 8],
  ["p_align", 48, 8],
] as const;
const EHDR32 = [
  ["e_ident.class", 4, 1],
  ["e_ident.data", 5, 1],
  ["e_machine", 18, 2],
  ["e_entry", 24, 4],
  ["e_phoff", 28, 4],
  ["e_shoff", 32, 4],
  ["e_phentsize", 42, 2],
  ["e_phnum", 44, 2],
  ["e_shentsize", 46, 2],
] as const;
const PHDR32 = [
  ["p_type", 0, 4],
  ["p_offset", 4, 4],
  ["p_vaddr", 8, 4],
  ["p_paddr", 12, 4],
  ["p_filesz", 16, 4],
  ["p_memsz", 20, 4],
  ["p_flags", 24, 4],
  ["p_align", 28, 4],
] as const;
const NHDR = [
  ["n_namesz", 0, 4],
  ["n_descsz", 4, 4],
  ["n_type", 8, 4],
] as const;

/** The fields of an ELF file whose program headers follow its header. */
export function elfFields(bytes: Uint8Array, notesAt?: number): Field[] {
  const is64 = bytes[4] === 2;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const has = (end: number): boolean => end <= bytes.byteLength;
  const fields = fieldsOf(is64 ? EHDR64 : EHDR32);
  const count = has(64) ? Math.min(view.getUint16(is64 ? 56 : 44, true), 8) : 0;
  for (let i = 0; i < count; i++) {
    const base = is64 ? 64 + 56 * i : 52 + 32 * i;
    fields.push(...fieldsOf(is64 ? PHDR64 : PHDR32, base, `phdr[${i}].`));
  }
  if (notesAt !== undefined) fields.push(...fieldsOf(NHDR, notesAt, "note."));
  return fields;
}

/** A note with an 8- or 4-byte value. */
function note(name: string, type: number, value: Uint8Array, alignment = 4): Uint8Array {
  const nameBytes = new TextEncoder().encode(`${name}\0`);
  const valueAt = Math.ceil((12 + nameBytes.length) / alignment) * alignment;
  const bytes = new Uint8Array(Math.ceil((valueAt + value.length) / alignment) * alignment);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, nameBytes.length, true);
  view.setUint32(4, value.length, true);
  view.setUint32(8, type, true);
  bytes.set(nameBytes, 12);
  bytes.set(value, valueAt);
  return bytes;
}

/** The note without the NUL of its name: there is a zero behind it all the same. */
function unended(bytes: Uint8Array): Uint8Array {
  bytes[0] = (bytes[0] ?? 0) - 1;
  return bytes;
}

const ENTRY = Uint8Array.of(0, 1, 0x10, 0);
const ENTRY64 = Uint8Array.of(0, 1, 0x10, 0, 0, 0, 0, 0);

/** An ELF with a segment, and notes behind its program headers. */
function elfWithNotes(is64: boolean, notes: Uint8Array, align: bigint): Uint8Array<ArrayBuffer> {
  const at = is64 ? 64 + 2 * 56 : 52 + 2 * 32;
  const fill = new Uint8Array(at + notes.length + 64).fill(0x90);
  fill.set(notes, at);
  const segments = [
    { offset: BigInt(at), paddr: 0x10_0000n, vaddr: 0x10_0000n, filesz: 60n, memsz: 9000n },
    { type: 4, offset: BigInt(at), filesz: BigInt(notes.length), memsz: BigInt(notes.length), align },
  ];
  const shape = { entry: 0x10_0000n, segments, fill, byteLength: fill.length };
  return is64 ? makeElf(shape) : makeElf32(shape);
}

/** A real ELF header whose notes are moved behind it. */
function realElf(headers: RealName, notes: RealName): Uint8Array<ArrayBuffer> {
  const head = realHeader(headers);
  const tail = realHeader(notes);
  const bytes = new Uint8Array(head.length + tail.length);
  bytes.set(head);
  bytes.set(tail, head.length);
  const view = new DataView(bytes.buffer);
  if (bytes[4] === 2) view.setBigUint64(head.length - 56 + 8, BigInt(head.length), true);
  else view.setUint32(head.length - 32 + 4, head.length, true);
  return bytes;
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

export function elfSeeds(): Seed[] {
  const files: { name: string; bytes: Uint8Array; notesAt?: number }[] = [
    ...golden("elf"),
    { name: "vmlinux amd64", bytes: realHeader("vmlinuxAmd64") },
    { name: "vmlinux i386", bytes: realHeader("vmlinuxI386") },
  ];
  for (const [headers, notes] of [
    ["vmlinuxAmd64", "vmlinuxAmd64Notes"],
    ["vmlinuxI386", "vmlinuxI386Notes"],
  ] as const) {
    const notesAt = realHeader(headers).length;
    for (let i = 0; i < 12; i++) files.push({ name: headers, bytes: realElf(headers, notes), notesAt });
  }
  const notes: readonly (readonly [Uint8Array, bigint])[] = [
    [concat(note("GNU", 3, ENTRY64), note("Xen", 18, ENTRY)), 4n],
    [concat(note("GNU", 3, ENTRY64, 8), note("Xen", 18, ENTRY64, 8)), 8n],
    [note("Xen", 18, new Uint8Array(3)), 4n],
    [note("Xen", 5, ENTRY), 4n],
    [note("Xenon", 18, ENTRY), 4n],
    [unended(note("Xen", 18, ENTRY)), 4n],
  ];
  for (const is64 of [true, false]) {
    for (const [bytes, align] of notes) {
      const notesAt = is64 ? 64 + 2 * 56 : 52 + 2 * 32;
      for (let i = 0; i < 5; i++) {
        files.push({ name: "notes", bytes: elfWithNotes(is64, bytes, align), notesAt });
      }
    }
  }
  // e_phnum is 0xffff: the count stands in section 0.
  const many = makeElf({
    segments: [{ filesz: 8n, memsz: 8n }],
    phnum: 0xffff,
    shoff: 256n,
    byteLength: 512,
  });
  new DataView(many.buffer).setUint32(256 + 44, 1, true);
  const many32 = makeElf32({ segments: [{}], phnum: 0xffff, shoff: 256n, byteLength: 512 });
  new DataView(many32.buffer).setUint32(256 + 28, 1, true);
  const extra: Field = { name: "sh_info", offset: 256 + 44, size: 4 };
  const seeds: Seed[] = files.map(({ name, bytes, notesAt }) => ({
    name,
    bytes,
    fields: elfFields(bytes, notesAt),
  }));
  for (let i = 0; i < 4; i++) {
    seeds.push({ name: "PN_XNUM", bytes: many, fields: [...elfFields(many.slice(0, 200)), extra] });
    seeds.push({ name: "PN_XNUM 32", bytes: many32, fields: elfFields(many32.slice(0, 200)) });
  }
  return seeds;
}

const SETUP_HEADER = [
  ["setup_sects", 0x1f1, 1],
  ["root_flags", 0x1f2, 2],
  ["syssize", 0x1f4, 4],
  ["vid_mode", 0x1fa, 2],
  ["root_dev", 0x1fc, 2],
  ["boot_flag", 0x1fe, 2],
  ["jump", 0x201, 1],
  ["header", 0x202, 4],
  ["version", 0x206, 2],
  ["kernel_version", 0x20e, 2],
  ["type_of_loader", 0x210, 1],
  ["loadflags", 0x211, 1],
  ["code32_start", 0x214, 4],
  ["initrd_addr_max", 0x22c, 4],
  ["kernel_alignment", 0x230, 4],
  ["relocatable_kernel", 0x234, 1],
  ["min_alignment", 0x235, 1],
  ["xloadflags", 0x236, 2],
  ["cmdline_size", 0x238, 4],
  ["hardware_subarch", 0x23c, 4],
  ["payload_offset", 0x248, 4],
  ["payload_length", 0x24c, 4],
  ["setup_data", 0x250, 8],
  ["pref_address", 0x258, 8],
  ["init_size", 0x260, 4],
  ["handover_offset", 0x264, 4],
  ["kernel_info_offset", 0x268, 4],
] as const;

/** The fields of a setup header that a test of the boundaries is likely to look at. */
export function bzImageFields(): Field[] {
  return fieldsOf(SETUP_HEADER);
}

/** Protocols with a field that the one before has not. */
const VERSIONS: readonly number[] = [
  0x1ff, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d,
  0x20e, 0x20f,
];

export function bzImageSeeds(): Seed[] {
  const fields = bzImageFields();
  const code = new Uint8Array(1024).fill(0xcc);
  code.set([0x1f, 0x8b, 8], 0x100);
  const info = new Uint8Array(16);
  new DataView(info.buffer).setUint32(0, 0x506f_544c, true);
  new DataView(info.buffer).setUint32(12, 0x8000_0009, true);
  code.set(info, 0x80);
  const made = (version: number): Uint8Array =>
    makeBzImage({
      version,
      code,
      payloadOffset: 0x100,
      payloadLength: 0x200,
      fields: [
        [0x20e, 2, 0x80],
        [0x268, 4, 0x80],
      ],
      trailer: new Uint8Array(40).fill(7),
    });
  const seeds: Seed[] = VERSIONS.map((version) => {
    const bytes = made(version);
    bytes.set(new TextEncoder().encode("6.1.0 (fuzz) \u00e9"), 0x280);
    return { name: `protocol ${version.toString(16)}`, bytes, fields };
  });
  for (const name of ["bzImageAmd64", "bzImageI386"] as const) {
    // The header of the real one in a small file: syssize and the payload are made to fit, or left.
    for (const isFit of [true, false]) {
      const bytes = makeBzImage({ setupSects: 39, code: new Uint8Array(512) });
      bytes.set(realHeader(name), 0x1f1);
      if (isFit) {
        const view = new DataView(bytes.buffer);
        view.setUint32(0x1f4, 32, true);
        view.setUint32(0x248, 16, true);
        view.setUint32(0x24c, 400, true);
      }
      seeds.push({ name, bytes, fields });
    }
  }
  seeds.push({ name: "setup_sects 0", bytes: makeBzImage({ setupSects: 0, code }), fields });
  const direct = made(0x20f);
  // kernel_info without setup_indirect: it lies 0x80 bytes behind the protected-mode code's start.
  const infoAt = Buffer.from(direct.buffer).indexOf("LToP");
  if (infoAt < 0) throw new Error("there is no kernel_info");
  direct[infoAt + 15] = 0;
  seeds.push({ name: "no setup_indirect", bytes: direct, fields });
  seeds.push({ name: "short", bytes: makeBzImage({ byteLength: 0x268 }), fields });
  return seeds;
}

const IMAGE_HEADER = [
  ["code0", 0, 4],
  ["code1", 4, 4],
  ["text_offset", 8, 8],
  ["image_size", 16, 8],
  ["flags", 24, 8],
  ["res2", 32, 8],
  ["magic", 56, 4],
  ["res5", 60, 4],
] as const;

export function arm64Fields(): Field[] {
  return fieldsOf(IMAGE_HEADER);
}

export function arm64Seeds(): Seed[] {
  const fields = arm64Fields();
  return [
    ...golden("arm").map((seed) => ({ ...seed, fields })),
    { name: "imageArm64", bytes: realHeader("imageArm64"), fields },
    { name: "imageArm64", bytes: concat(realHeader("imageArm64"), new Uint8Array(500)), fields },
  ];
}

const ZBOOT_HEADER = [
  ["mz_magic", 0, 2],
  ["image_type", 4, 4],
  ["payload_offset", 8, 4],
  ["payload_size", 12, 4],
  ["compression", 24, 8],
  ["linux_pe_magic", 56, 4],
  ["pe_header_offset", 60, 4],
  ["pe_machine", 68, 2],
] as const;

export function zbootSeeds(): Seed[] {
  const fields = fieldsOf(ZBOOT_HEADER);
  return ["gzip", "zstd22", "xzkern", "x", ""].flatMap((compression) => [
    { name: `zboot ${compression}`, bytes: makeZboot({ compression }), fields },
    { name: `zboot ${compression}`, bytes: makeZboot({ compression, linuxMagic: 0 }), fields },
  ]);
}

const FDT_HEADER = [
  ["magic", 0, 4],
  ["totalsize", 4, 4],
  ["off_dt_struct", 8, 4],
  ["off_dt_strings", 12, 4],
  ["off_mem_rsvmap", 16, 4],
  ["version", 20, 4],
  ["last_comp_version", 24, 4],
  ["boot_cpuid_phys", 28, 4],
  ["size_dt_strings", 32, 4],
  ["size_dt_struct", 36, 4],
] as const;

/** A node of a tree that is made. */
export interface TreeNode {
  readonly name: string;
  readonly properties: readonly (readonly [name: string, value: Uint8Array])[];
  readonly children: readonly TreeNode[];
}

/** A flattened tree, version 17. */
export function flatten(root: TreeNode, reservations = 0, hasNops = false): Uint8Array<ArrayBuffer> {
  const words: number[] = [];
  const strings: number[] = [];
  const offsets = new Map<string, number>();
  const put = (word: number): void => {
    words.push((word >>> 24) & 255, (word >>> 16) & 255, (word >>> 8) & 255, word & 255);
  };
  const putBytes = (bytes: Iterable<number>): void => {
    words.push(...bytes);
    while (words.length % 4 !== 0) words.push(0);
  };
  const text = (value: string): number[] => [...Buffer.from(`${value}\0`, "latin1")];
  const visit = (node: TreeNode): void => {
    put(1);
    putBytes(text(node.name));
    for (const [name, value] of node.properties) {
      let at = offsets.get(name);
      if (at === undefined) {
        at = strings.length;
        offsets.set(name, at);
        strings.push(...text(name));
      }
      if (hasNops) put(4);
      put(3);
      put(value.length);
      put(at);
      putBytes(value);
    }
    for (const child of node.children) visit(child);
    put(2);
  };
  visit(root);
  put(9);
  const structureAt = 40 + 16 * (reservations + 1);
  const stringsAt = structureAt + words.length;
  const bytes = new Uint8Array(stringsAt + strings.length);
  const view = new DataView(bytes.buffer);
  const header = [
    0xd00d_feed,
    bytes.length,
    structureAt,
    stringsAt,
    40,
    17,
    16,
    0,
    strings.length,
    words.length,
  ];
  for (const [index, word] of header.entries()) view.setUint32(4 * index, word);
  for (let i = 0; i < reservations; i++) {
    view.setBigUint64(40 + 16 * i, 0x1000n * BigInt(i + 1));
    view.setBigUint64(48 + 16 * i, 0x1000n);
  }
  bytes.set(words, structureAt);
  bytes.set(strings, stringsAt);
  return bytes;
}

/** Big-endian cells of 32 bits. */
export function cells(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value);
  return bytes;
}

/** A string as a property has it. */
export function string(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(`${text}\0`, "latin1"));
}

/** A tree with `memory` as its /memory nodes. */
export function machineTree(
  memory: readonly (readonly [name: string, reg: Uint8Array, status?: string])[],
  shape: {
    addressCells?: number;
    sizeCells?: number;
    chosen?: boolean;
    reservations?: number;
    nops?: boolean;
  } = {},
): Uint8Array<ArrayBuffer> {
  const { addressCells, sizeCells, chosen = true } = shape;
  const root: TreeNode = {
    name: "",
    properties: [
      ...(addressCells === undefined ? [] : [["#address-cells", cells(addressCells)] as const]),
      ...(sizeCells === undefined ? [] : [["#size-cells", cells(sizeCells)] as const]),
      ["compatible", string("linux,dummy-virt")],
    ],
    children: [
      ...(chosen
        ? [
            {
              name: "chosen",
              properties: [
                ["bootargs", string("quiet")] as const,
                ["linux,initrd-start", cells(0, 0x4400_0000)] as const,
                ["stdout-path", string("/pl011@9000000")] as const,
              ],
              children: [{ name: "inner", properties: [["bootargs", string("no")] as const], children: [] }],
            },
          ]
        : []),
      ...memory.map(([name, reg, status]) => ({
        name,
        properties: [
          ["device_type", string("memory")] as const,
          ["reg", reg] as const,
          ...(status === undefined ? [] : [["status", string(status)] as const]),
        ],
        children: [],
      })),
      {
        name: "cpus",
        properties: [],
        children: [{ name: "cpu@0", properties: [["reg", cells(0)]], children: [] }],
      },
    ],
  };
  return flatten(root, shape.reservations ?? 0, shape.nops ?? false);
}

/** Trees that are wrong in one place, or whose reserved memory is at the edge; run as they are. */
export function oddTrees(): Uint8Array[] {
  const reg = cells(0, 0x4000_0000, 0, 0x80_0000);
  const memory: TreeNode = {
    name: "memory",
    properties: [
      ["device_type", string("memory")],
      ["reg", reg],
    ],
    children: [],
  };
  const root = (properties: TreeNode["properties"], children: TreeNode["children"]): Uint8Array =>
    flatten({ name: "", properties, children }, 1);
  const reserved = (value: Uint8Array, status = "okay"): TreeNode => ({
    name: "r",
    properties: [
      ["reg", value],
      ["status", string(status)],
    ],
    children: [],
  });
  const none: TreeNode = { name: "r", properties: [], children: [] };
  // The root's begin becomes a property, the end of a node, a token that there is not.
  const firstToken = (token: number): Uint8Array => {
    const tree = root([], []);
    const view = new DataView(tree.buffer);
    view.setUint32(view.getUint32(8), token);
    return tree;
  };
  const past = root([], []);
  const view = new DataView(past.buffer);
  // The memory reservation block: past 2^64, and empty.
  view.setBigUint64(40, (1n << 64n) - 4096n);
  view.setBigUint64(48, 1n << 63n);
  return [
    firstToken(3),
    firstToken(2),
    firstToken(7),
    past,
    root([["#address-cells", cells(0, 2)]], [memory]),
    root([["#size-cells", cells(5)]], [memory]),
    root([], [{ ...memory, properties: [...memory.properties.slice(0, 1), ["reg", cells(1, 2)]] }]),
    root([], [{ ...memory, properties: memory.properties.slice(0, 1) }]),
    root(
      [
        ["#address-cells", cells(2)],
        ["#size-cells", cells(2)],
      ],
      [
        memory,
        {
          name: "reserved-memory",
          properties: [],
          children: [
            reserved(reg),
            reserved(cells(0xffff_ffff, 0xffff_f000, 0xffff_ffff, 0)),
            reserved(cells(0, 0, 0, 0)),
            reserved(cells(1, 2, 3)),
            reserved(reg, "disabled"),
            none,
          ],
        },
      ],
    ),
    root(
      [["#size-cells", cells(0)]],
      [{ name: "reserved-memory", properties: [], children: [reserved(reg)] }],
    ),
  ];
}

/** Header fields, and every word of the structure as a field. */
export function treeFields(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields = fieldsOf(FDT_HEADER, 0, "", true);
  const start = view.getUint32(8);
  const end = Math.min(start + view.getUint32(36), bytes.byteLength);
  for (let at = start; at + 4 <= end; at += 4) {
    fields.push({ name: `struct+${at - start}`, offset: at, size: 4, bigEndian: true });
  }
  return fields;
}

export function deviceTreeSeeds(): Seed[] {
  const reg = cells(0, 0x4000_0000, 0, 0x80_0000);
  const deep = (levels: number): TreeNode => ({
    name: levels === 66 ? "" : "n",
    properties: [],
    children: levels === 0 ? [] : [deep(levels - 1)],
  });
  const trees: Uint8Array[] = [
    makeDeviceTree(),
    makeDeviceTree(13, 1),
    machineTree([["memory@40000000", reg]], { addressCells: 2, sizeCells: 2 }),
    machineTree([["memory", cells(0x4000_0000, 0x80_0000)]], { addressCells: 1, sizeCells: 1, nops: true }),
    machineTree(
      [
        ["memory@0", cells(0, 0, 0x100_0000), "okay"],
        ["memory@8", cells(0, 0x800_0000, 0x100_0000), "disabled"],
        ["memory@9", cells(0, 0x900_0000, 0), "ok"],
      ],
      { reservations: 2 },
    ),
    machineTree([], { chosen: false }),
    machineTree([["memory@1", cells(1, 2, 3, 4, 5, 6, 7, 8)]], { addressCells: 4, sizeCells: 4 }),
    machineTree([["memory@1", cells(1, 2, 3)]], { addressCells: 5, sizeCells: 0 }),
    machineTree([["memory@ffffffff", cells(0xffff_ffff, 0xffff_f000, 0x1000)]]),
    machineTree([["memory@ffffffff", cells(0xffff_ffff, 0xffff_f000, 0x1001)]]),
    flatten({ ...deep(62), name: "" }),
    flatten({ ...deep(65), name: "" }),
    flatten({
      name: "",
      properties: [["x".repeat(300), cells(1)]],
      children: [{ name: "y".repeat(255), properties: [], children: [] }],
    }),
    flatten({
      name: "",
      properties: [],
      children: [{ name: "y".repeat(256), properties: [], children: [] }],
    }),
  ];
  return trees.map((bytes, index) => ({ name: `tree ${index}`, bytes, fields: treeFields(bytes) }));
}
