import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { PT_LOAD, PT_NOTE, readElf } from "../../src/images/elf.js";
import { findPvhNote, type PvhNote } from "../../src/images/elf-notes.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { FileSource } from "../../src/sources/file.js";
import type { Source } from "../../src/sources/source.js";
import { runAsync, runSync } from "../../src/task/run.js";
import { makeElf, type SegmentShape } from "../support/elf-maker.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();
const NOTES_AT = 1024;

interface NoteShape {
  readonly name?: string;
  readonly type?: number;
  readonly value?: readonly number[];
  /** The header's fields, where they lie. */
  readonly nameBytes?: number;
  readonly valueBytes?: number;
}

/** Notes, back to back, padded as glibc pads them. */
function makeNotes(shapes: readonly NoteShape[], alignment = 4): Uint8Array {
  const bytes: number[] = [];
  const pad = (): void => {
    while (bytes.length % alignment !== 0) bytes.push(0);
  };
  const u32 = (value: number): void => {
    for (let i = 0; i < 4; i++) bytes.push((value >>> (8 * i)) & 0xff);
  };
  for (const { name = "Xen\0", type = 18, value = [0x50, 8, 0, 1], nameBytes, valueBytes } of shapes) {
    u32(nameBytes ?? name.length);
    u32(valueBytes ?? value.length);
    u32(type);
    bytes.push(...Buffer.from(name, "latin1"));
    pad();
    bytes.push(...value);
    pad();
  }
  return Uint8Array.from(bytes);
}

/** A file with one PT_NOTE segment, and what is to be changed of it. */
function makeFile(notes: Uint8Array, segment: SegmentShape = {}): Uint8Array<ArrayBuffer> {
  const fill = new Uint8Array(NOTES_AT + notes.byteLength);
  fill.set(notes, NOTES_AT);
  const note = { type: PT_NOTE, offset: BigInt(NOTES_AT), filesz: BigInt(notes.byteLength), align: 4n };
  return makeElf({
    segments: [
      { type: PT_LOAD, offset: BigInt(NOTES_AT) },
      { ...note, ...segment },
    ],
    byteLength: fill.byteLength,
    fill,
  });
}

function find(source: Source): PvhNote | undefined {
  return runSync(findPvhNote(source, runSync(readElf(source, undefined))));
}

function findIn(notes: Uint8Array, segment: SegmentShape = {}): PvhNote | undefined {
  return find(new BytesSource(makeFile(notes, segment), "vmlinux"));
}

describe("findPvhNote", () => {
  for (const [bits, word, emulation] of [
    [64, "quad", "elf_x86_64"],
    [32, "long", "elf_i386"],
  ] as const) {
    it(`finds the note that the assembler made, in a linked ELF${bits}, where readelf sees it`, async () => {
      const [source, object, program] = ["s", "o", "elf"].map((end) => join(folder, `pvh${bits}.${end}`));
      assert.ok(source !== undefined && object !== undefined && program !== undefined);
      writeFileSync(
        source,
        `.globl _start
         _start: hlt
         .section .note.other, "a", @note
         .long 4, 5, 1
         .asciz "GNU"
         .ascii "12345"
         .balign 4
         .section .note.pvh, "a", @note
         .long 4, ${bits / 8}, 18
         .asciz "Xen"
         .${word} 0x1000850
        `,
      );
      runTool("binutils", "as", [`--${bits}`, "-o", object, source]);
      runTool("binutils", "ld", ["-m", emulation, "-o", program, object]);
      const file = new FileSource(program);
      const elf = runSync(readElf(file, undefined, bits));
      const note = runSync(findPvhNote(file, elf));
      assert.ok(note !== undefined);
      assert.deepEqual([note.entry, note.size], [0x100_0850n, bits / 8]);
      assert.equal((await runAsync(findPvhNote(file, elf)))?.entry, 0x100_0850n);
      const value = new Uint8Array(4);
      file.readSync(value, note.offset);
      assert.deepEqual([...value], [0x50, 8, 0, 1]);
      file.close();
      assert.match(runTool("binutils", "readelf", ["-nW", program]), /Xen .*0x0+12\)[\s\S]*: 50 08 00 01/);
    });
  }

  it("takes the first of several, and none of another owner or type", () => {
    const others = [{ name: "GNU\0" }, { name: "Xenon\0" }, { name: "Xe\0" }, { type: 17 }];
    const first = { value: [1, 0, 0, 0] };
    assert.equal(findIn(makeNotes([...others, first, { value: [2, 0, 0, 0] }]))?.entry, 1n);
    assert.equal(findIn(makeNotes(others)), undefined);
    assert.equal(findIn(new Uint8Array(0)), undefined);
  });

  it("takes a value of 8 bytes, also above 4 GiB: whoever starts it checks it", () => {
    const note = findIn(makeNotes([{ value: [1, 2, 3, 4, 5, 0, 0, 0] }]));
    assert.deepEqual(note, { entry: 0x5_0403_0201n, offset: NOTES_AT + 16, size: 8 });
  });

  it("pads to 8 in a segment that is aligned to 8, and to 4 in any other", () => {
    const shapes = [{ name: "GNU\0", value: [1, 2, 3, 4, 5] }, {}];
    assert.equal(findIn(makeNotes(shapes, 8), { align: 8n })?.entry, 0x100_0850n);
    for (const align of [0n, 1n, 4n, 16n])
      assert.equal(findIn(makeNotes(shapes), { align })?.entry, 0x100_0850n);
  });

  it("looks into no segment but PT_NOTE, and into all of them", () => {
    const notes = makeNotes([{}]);
    assert.equal(findIn(notes, { type: 0x6474_e553 }), undefined);
    const offset = BigInt(NOTES_AT);
    const filesz = BigInt(notes.byteLength);
    const fill = new Uint8Array(NOTES_AT + notes.byteLength);
    fill.set(notes, NOTES_AT);
    const bytes = makeElf({
      segments: [
        { type: PT_NOTE, filesz: 0n, offset: 1n << 60n },
        { type: PT_NOTE, filesz: 8n, offset },
        { type: PT_NOTE, filesz, offset },
      ],
      byteLength: fill.byteLength,
      fill,
    });
    assert.equal(find(new BytesSource(bytes))?.entry, 0x100_0850n);
  });

  it("refuses what can't be walked", () => {
    const refusals: readonly (readonly [Uint8Array, SegmentShape, string])[] = [
      [makeNotes([{}]), { offset: 1025n }, "pass the end"],
      [makeNotes([{}]), { filesz: (1n << 64n) - 1n }, "pass the end"],
      [makeNotes([{ name: "GNU\0", nameBytes: 0xffff_ffff }]), {}, "4294967295 bytes of name"],
      [makeNotes([{ name: "GNU\0", valueBytes: 5 }]), {}, "5 of value"],
      [makeNotes([{ valueBytes: 0xffff_ffff }]), {}, "its segment ends at 0x414"],
      [makeNotes([{ value: [1, 2, 3] }]), {}, "has 3 bytes"],
      [makeNotes([{ value: [] }]), {}, "has 0 bytes"],
    ];
    for (const [notes, segment, said] of refusals) {
      assert.throws(() => findIn(notes, segment), refusal("ELF_BAD_NOTE", "vmlinux", said));
    }
  });

  it("reads no more than 1 MiB of notes, in one segment or in many", () => {
    const mib = 1 << 20;
    // Notes without owner, type and value: they could be walked for ever.
    const file = (segments: number, filesz: number): Uint8Array =>
      makeElf({
        segments: Array.from({ length: segments }, () => ({
          type: PT_NOTE,
          offset: BigInt(NOTES_AT),
          filesz: BigInt(filesz),
        })),
        byteLength: NOTES_AT + filesz,
      });
    assert.equal(find(new BytesSource(file(1, mib))), undefined);
    assert.equal(find(new BytesSource(file(2, mib / 2))), undefined);
    for (const bytes of [file(1, mib + 1), file(3, mib / 2)]) {
      assert.throws(() => find(new BytesSource(bytes)), refusal("ELF_BAD_NOTE", "0x100000"));
    }
  });

  it("finds it among notes of which some are padded to 4 bytes and some to 8, whatever p_align says", () => {
    const odd = makeNotes([{ type: 7, value: [0x32, 0x2e, 0x36, 0] }]);
    const property = makeNotes(
      [{ name: "GNU\0", type: 5, value: [2, 0, 1, 0xc0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0] }],
      8,
    );
    // What follows one of 20 bytes lies at a multiple of 4 only.
    const short = makeNotes([{ type: 8, value: [1, 0, 0, 0, 0, 0, 0, 0] }]);
    const pvh = makeNotes([{}]);
    const rows: readonly (readonly [alignment: bigint, notes: readonly Uint8Array[]])[] = [
      [4n, [odd, new Uint8Array(4), property, pvh]],
      [4n, [odd, new Uint8Array(12), property, pvh]],
      [8n, [property, odd, pvh]],
      [8n, [odd, pvh]],
      [8n, [odd, short, short, pvh, short, property]],
      [1n, [odd, pvh]],
    ];
    for (const [align, parts] of rows) {
      const found = findIn(new Uint8Array(Buffer.concat(parts)), { align });
      assert.equal(found?.entry, 0x100_0850n, `p_align ${align}, ${parts.map((part) => part.byteLength)}`);
    }
  });

  it("does not take what looks like one in the value of another note", () => {
    const inner = [...makeNotes([{}])];
    assert.equal(findIn(makeNotes([{ name: "Linux\0", type: 1, value: inner }])), undefined);
  });
});
