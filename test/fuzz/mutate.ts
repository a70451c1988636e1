/** Mutation of files whose fields are known: a few fields get values at the edges, sometimes bytes or the length change. */
import type { Random } from "./random.js";

/** An integer of a file. */
export interface Field {
  readonly name: string;
  /** In the file, in bytes. */
  readonly offset: number;
  /** Bytes, 1 to 8. */
  readonly size: number;
  readonly bigEndian?: boolean;
}

/** A file to begin with. */
export interface Seed {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly fields: readonly Field[];
  /** Makes checksums right again, or leaves them: what is behind them is reached by it. */
  readonly repair?: (bytes: Uint8Array) => void;
  /** What it decodes to, for compressed data. */
  readonly output?: Uint8Array;
}

/** Fields of one size, one behind the other. */
export function fieldsOf(
  shape: readonly (readonly [name: string, offset: number, size: number])[],
  base = 0,
  prefix = "",
  bigEndian = false,
): Field[] {
  return shape.map(([name, offset, size]) => ({
    name: `${prefix}${name}`,
    offset: base + offset,
    size,
    bigEndian,
  }));
}

export function readField(bytes: Uint8Array, { offset, size, bigEndian }: Field): bigint {
  let value = 0n;
  for (let i = 0; i < size; i++) {
    const at = bigEndian === true ? offset + i : offset + size - 1 - i;
    value = (value << 8n) | BigInt(bytes[at] ?? 0);
  }
  return value;
}

export function writeField(bytes: Uint8Array, { offset, size, bigEndian }: Field, value: bigint): void {
  for (let i = 0; i < size; i++) {
    const at = bigEndian === true ? offset + size - 1 - i : offset + i;
    if (at < bytes.byteLength) bytes[at] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
}

/** Where things go wrong: small numbers, powers of two and their neighbours, sizes of pages and sectors. */
const EDGES: readonly bigint[] = [
  ...[0n, 1n, 2n, 3n, 4n, 5n, 8n, 12n, 16n, 18n, 40n, 64n, 100n, 512n],
  ...[12n, 16n, 20n, 21n, 22n, 24n, 28n, 30n, 31n, 32n, 33n, 36n, 40n, 48n, 52n, 53n, 63n].flatMap((bit) => [
    (1n << bit) - 1n,
    1n << bit,
    (1n << bit) + 1n,
  ]),
  ...[0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xfffen, 0xffffn],
  (1n << 64n) - 1n,
  (1n << 64n) - 4096n,
  (1n << 64n) - 4097n,
];

/** A number of `size` bytes at an edge, or near one of `context`: lengths and what other fields hold. */
export function edge(random: Random, size: number, context: readonly bigint[] = []): bigint {
  const mask = (1n << BigInt(8 * size)) - 1n;
  const base = context.length > 0 && !random.oneIn(3) ? random.pick(context) : random.pick(EDGES);
  const near = random.oneIn(3) ? random.pick([-4096n, -16n, -4n, -2n, -1n, 1n, 2n, 4n, 16n, 4096n]) : 0n;
  return (random.oneIn(20) ? random.u64() : base + near) & mask;
}

function mutateField(random: Random, bytes: Uint8Array, fields: readonly Field[]): void {
  const field = random.pick(fields);
  const old = readField(bytes, field);
  const other = readField(bytes, random.pick(fields));
  const length = BigInt(bytes.byteLength);
  const value = ((): bigint => {
    switch (random.below(6)) {
      case 0:
        return old ^ (1n << BigInt(random.below(8 * field.size)));
      case 1:
        return old + random.pick([-1n, 1n, -4n, 4n, -16n, 16n, 4096n, -4096n]);
      default:
        return edge(random, field.size, [
          length,
          length - BigInt(field.offset),
          old,
          other,
          old * 2n,
          length - old,
        ]);
    }
  })();
  writeField(bytes, field, BigInt.asUintN(8 * field.size, value));
}

function mutateBytes(random: Random, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const { byteLength } = bytes;
  const at = random.below(byteLength);
  switch (random.below(8)) {
    case 0:
      return bytes.slice(0, random.below(byteLength + 1));
    case 1: {
      const longer = new Uint8Array(byteLength + 1 + random.below(random.oneIn(2) ? 16 : 600));
      longer.set(bytes);
      if (random.oneIn(2)) longer.set(random.bytes(longer.byteLength - byteLength), byteLength);
      return longer;
    }
    case 2:
      bytes.fill(random.pick([0, 0xff, random.below(256)]), at, at + 1 + random.below(64));
      return bytes;
    case 3: {
      const length = 1 + random.below(48);
      bytes.copyWithin(random.below(byteLength), at, at + length);
      return bytes;
    }
    case 4: {
      // A part is missing: what follows moves down.
      const length = 1 + random.below(random.oneIn(2) ? 4 : 64);
      const shorter = bytes.slice(0, Math.max(0, byteLength - length));
      shorter.set(
        bytes
          .subarray(Math.min(at + length, byteLength))
          .subarray(0, shorter.byteLength - Math.min(at, shorter.byteLength)),
        Math.min(at, shorter.byteLength),
      );
      return shorter;
    }
    case 5:
      bytes[at] = random.below(256);
      return bytes;
    default:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      return bytes;
  }
}

/** A mutant of one of the seeds, and the seed. */
export interface Mutant {
  readonly seed: Seed;
  readonly bytes: Uint8Array;
  /** True if nothing was changed. */
  readonly isWhole: boolean;
}

/** Changes a copy of one of `seeds`; one in 40 stays as it is. */
export function mutate(random: Random, seeds: readonly Seed[]): Mutant {
  const seed = random.pick(seeds);
  let bytes = Uint8Array.from(seed.bytes);
  if (random.oneIn(40)) return { seed, bytes, isWhole: true };
  const count = 1 + (random.oneIn(2) ? 0 : random.below(4));
  for (let i = 0; i < count; i++) {
    const onField = seed.fields.length > 0 && !random.oneIn(4);
    if (onField) mutateField(random, bytes, seed.fields);
    else if (random.oneIn(12)) bytes = splice(random, bytes, random.pick(seeds).bytes);
    else bytes = mutateBytes(random, bytes);
  }
  if (seed.repair !== undefined && !random.oneIn(4)) seed.repair(bytes);
  return { seed, bytes, isWhole: false };
}

/** The beginning of one file and the end of another. */
function splice(random: Random, head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> {
  const first = head.subarray(0, random.below(head.byteLength + 1));
  const rest = tail.subarray(random.below(tail.byteLength + 1));
  const bytes = new Uint8Array(first.byteLength + rest.byteLength);
  bytes.set(first);
  bytes.set(rest, first.byteLength);
  return bytes;
}

/** Lengths of chunks for a stream of about `byteLength` bytes; some are empty, never all. */
export function chunkLengths(random: Random, byteLength: number): readonly number[] {
  const least = 1 + Math.floor(byteLength / 400);
  const kind = random.below(4);
  if (kind === 0) return [least + random.below(7)];
  if (kind === 1) return [65536];
  const lengths = Array.from({ length: 1 + random.below(4) }, () =>
    random.oneIn(8) ? 0 : least + random.below(random.pick([16, 100, 1000, 5000])),
  );
  return [...lengths, least];
}
