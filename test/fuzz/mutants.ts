/** Mutated files: a few fields get values at the edges, bytes change, the file is cut or grows. */
import fc from "fast-check";

/** An integer of a file: its place and size in bytes. */
export interface Field {
  readonly offset: number;
  readonly size: number;
  readonly bigEndian?: boolean;
}

/** A file to begin with. */
export interface Seed {
  readonly bytes: Uint8Array;
  readonly fields: readonly Field[];
  /** Makes checksums right again, so that what lies behind them is reached. */
  readonly repair?: (bytes: Uint8Array) => void;
}

/** Fields from a text such as "4:1 16:2": offsets and sizes. */
export function fieldsOf(shape: string, base = 0, bigEndian = false): Field[] {
  return shape.split(" ").map((text) => {
    const [offset = 0, size = 1] = text.split(":").map(Number);
    return { offset: base + offset, size, bigEndian };
  });
}

function readField(bytes: Uint8Array, { offset, size, bigEndian }: Field): bigint {
  const part = [...bytes.subarray(offset, offset + size)];
  if (bigEndian !== true) part.reverse();
  return part.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function writeField(bytes: Uint8Array, { offset, size, bigEndian }: Field, value: bigint): void {
  for (let i = 0; i < size; i++) {
    const at = bigEndian === true ? offset + size - 1 - i : offset + i;
    if (at < bytes.byteLength) bytes[at] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
}

/** Small numbers, powers of two and their neighbours. */
const EDGES: readonly bigint[] = [
  ...Array.from({ length: 20 }, (_, i) => BigInt(i)),
  ...[5, 6, 7, 8, 9, 12, 15, 16, 20, 21, 24, 28, 30, 31, 32, 33, 36, 48, 52, 53, 63, 64].flatMap((bit) =>
    [-1n, 0n, 1n].map((near) => (1n << BigInt(bit)) + near),
  ),
  (1n << 64n) - 4096n,
];

/** A number at an edge, or near one. */
export const edge = fc
  .tuple(fc.constantFrom(...EDGES), fc.constantFrom(0n, 0n, 0n, -4096n, -16n, -1n, 1n, 4n, 4096n))
  .map(([base, near]) => BigInt.asUintN(64, base + near));

type Edit =
  | {
      kind: "field";
      field: number;
      base: "edge" | "length" | "rest" | "old" | "other";
      other: number;
      value: bigint;
    }
  | {
      kind: "set" | "flip" | "fill" | "copy" | "remove" | "cut" | "grow";
      at: number;
      count: number;
      byte: number;
    };

const near = fc.constantFrom(0n, -4096n, -16n, -4n, -1n, 1n, 4n, 16n, 4096n);
const place = fc.nat(2 ** 30);
const edit: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .record({
        field: place,
        base: fc.constantFrom("edge", "length", "rest", "old", "other"),
        other: place,
        value: near,
        far: edge,
      })
      .map(
        ({ far, ...each }) =>
          ({ kind: "field", ...each, value: each.base === "edge" ? far : each.value }) as Edit,
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({
        kind: fc.constantFrom("set", "flip", "fill", "copy", "remove", "cut", "grow"),
        at: place,
        count: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 700 })),
        byte: fc.oneof(fc.constantFrom(0, 255), fc.nat(255)),
      })
      .map((each) => ({ ...each }) as Edit),
  },
);

function apply(
  bytes: Uint8Array<ArrayBuffer>,
  fields: readonly Field[],
  edit: Edit,
): Uint8Array<ArrayBuffer> {
  const { byteLength } = bytes;
  if (edit.kind === "field") {
    const field = fields[edit.field % fields.length];
    const other = fields[edit.other % fields.length];
    if (field === undefined || other === undefined) return bytes;
    const bases = {
      edge: 0n,
      length: BigInt(byteLength),
      rest: BigInt(byteLength - field.offset),
      old: readField(bytes, field),
      other: readField(bytes, other),
    };
    writeField(bytes, field, BigInt.asUintN(64, bases[edit.base] + edit.value));
    return bytes;
  }
  const { at: place, count, byte } = edit;
  const at = byteLength === 0 ? 0 : place % byteLength;
  switch (edit.kind) {
    case "set":
      bytes.fill(byte, at, at + 1);
      return bytes;
    case "flip":
      bytes.set([(bytes[at] ?? 0) ^ (1 << (byte & 7))].slice(0, byteLength), at);
      return bytes;
    case "fill":
      return bytes.fill(byte, at, at + count);
    case "copy":
      return bytes.copyWithin((place % 977) % (byteLength + 1), at, at + count);
    case "remove":
      return Uint8Array.from(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + count)]));
    case "cut":
      return bytes.slice(0, at);
    case "grow":
      return Uint8Array.from(Buffer.concat([bytes, new Uint8Array(count).fill(byte)]));
  }
}

/** A mutant, and the number of its seed. */
export interface Mutant {
  readonly seed: number;
  readonly bytes: Uint8Array;
  readonly isWhole: boolean;
}

/** Mutants of files; some stay whole. */
export function mutants(seeds: readonly Seed[]): fc.Arbitrary<Mutant> {
  const edits = fc.array(edit, { maxLength: 4, size: "max" });
  return fc.tuple(fc.nat(seeds.length - 1), edits, fc.nat(3)).map(([seed, list, chance]) => {
    const { bytes: file, fields, repair } = seeds[seed] as Seed;
    const bytes = list.reduce((made, each) => apply(made, fields, each), Uint8Array.from(file));
    if (repair !== undefined && chance !== 0) repair(bytes);
    return { seed, bytes, isWhole: list.length === 0 };
  });
}

/** The files as they are. */
export function whole(seeds: readonly Seed[]): Mutant[] {
  return seeds.map(({ bytes }, seed) => ({ seed, bytes, isWhole: true }));
}
