/** Regions of files as segments of a kernel, which may share pages, and command lines: what the planners make of them. */
import { GuestMemory } from "../../../src/memory/guest-memory.js";
import { type FuzzInput, listOf, type Value } from "../input.js";
import { edge } from "../mutate.js";
import { expect, type Outcome, observe } from "../outcome.js";
import type { Random } from "../random.js";
import type { Subject } from "../subject.js";
import type { Target } from "../target.js";
import { lazy } from "./shared.js";

const PAGE_BYTES = 4096;
const PAGE = 4096n;
const GUEST_BYTES = 12 * PAGE_BYTES;
const FILE_BYTES = 9000;
const CANARY = 0xa5;
const LIMIT = 1n << 64n;

/** A region: where in the file, bytes from it, where in memory, bytes there. */
interface Region {
  readonly fileOffset: bigint;
  readonly fileLength: bigint;
  readonly gpa: bigint;
  readonly memoryLength: bigint;
}

const file = lazy(() => Uint8Array.from({ length: FILE_BYTES }, (_, i) => (i * 7 + (i >> 8)) | 1));

function toRegions(input: FuzzInput): Region[] {
  return listOf(input, "regions").map((each) => {
    if (!Array.isArray(each)) throw new TypeError("the input holds no region");
    const [fileOffset, fileLength, gpa, memoryLength] = each.map(BigInt);
    return {
      fileOffset: fileOffset ?? 0n,
      fileLength: fileLength ?? 0n,
      gpa: gpa ?? 0n,
      memoryLength: memoryLength ?? 0n,
    };
  });
}

/** Regions one behind the other, with small gaps or none, in any order; sometimes a number is another. */
function makeRegions(random: Random): Value {
  let at = BigInt(random.below(2 * PAGE_BYTES));
  const regions: bigint[][] = [];
  for (let i = random.below(6); i >= 0; i--) {
    const memoryLength = BigInt(1 + random.below(random.pick([8, 300, 5000, 9000])));
    const fileLength = random.oneIn(3) ? memoryLength : BigInt(random.below(Number(memoryLength) + 1));
    const fileOffset = BigInt(random.below(Math.max(1, FILE_BYTES - Number(fileLength) + 1)));
    regions.push([fileOffset, fileLength, at, memoryLength]);
    at += memoryLength + BigInt(random.pick([0, 0, 1, 100, 5000]));
  }
  if (random.oneIn(4)) {
    const region = random.pick(regions);
    region[random.below(4)] = edge(random, 8, [at, PAGE, BigInt(FILE_BYTES)]);
  }
  const places = regions.map((region) => ({ region, place: random.u32() }));
  return places.sort((a, b) => a.place - b.place).map(({ region }) => region);
}

/** What must be in memory, and which pages: each region's bytes, then zeros. Undefined where it does not fit the guest. */
function expected(regions: readonly Region[]): Uint8Array | undefined {
  const bytes = new Uint8Array(GUEST_BYTES).fill(CANARY);
  if (regions.some(({ gpa, memoryLength }) => gpa + memoryLength > BigInt(GUEST_BYTES))) return undefined;
  for (const { gpa, memoryLength } of regions) {
    const end = ((gpa + memoryLength + PAGE - 1n) / PAGE) * PAGE;
    if (memoryLength > 0n) bytes.fill(0, Number((gpa / PAGE) * PAGE), Number(end));
  }
  for (const { fileOffset, fileLength, gpa } of regions) {
    bytes.set(file().subarray(Number(fileOffset), Number(fileOffset + fileLength)), Number(gpa));
  }
  return bytes;
}

export function segmentsTarget(subject: Subject): Target {
  const plain = (regions: Value, commandLine: Value = "quiet"): FuzzInput => ({
    regions,
    commandLine,
    longest: 100,
    pageCount: 1,
    isPlain: false,
  });
  return {
    name: "segments",
    corpus: lazy(() => [
      // Of one page, three regions; of two, one that fills a page of its own between; file bytes up to a page's end only.
      plain([
        [0n, 10n, 0n, 20n],
        [10n, 30n, 20n, 30n],
        [100n, 5000n, 60n, 9000n],
      ]),
      plain([
        [100n, 5000n, 60n, 9000n],
        [10n, 30n, 20n, 30n],
        [0n, 10n, 0n, 20n],
      ]),
      plain([
        [0n, 4096n, 100n, 8192n],
        [0n, 0n, 8292n, 10n],
        [0n, 50n, 8302n, 8000n],
      ]),
      plain([
        [0n, 10n, 0n, 20n],
        [0n, 10n, 0n, 0n],
        [0n, 1n, 20n, 1n],
      ]),
      // Bytes that overlap; more of the file than of memory, or than there is; past 2^64.
      plain([
        [0n, 10n, 0n, 20n],
        [0n, 10n, 19n, 20n],
      ]),
      plain([
        [0n, 10n, 7n, 20n],
        [0n, 10n, 7n, 20n],
      ]),
      plain([[0n, 21n, 0n, 20n]]),
      plain([[8000n, 1001n, 0n, 2000n]]),
      plain([[0n, 0n, 5n, 0n]]),
      plain([[0n, 1n, LIMIT - 10n, 11n]]),
      plain([[0n, 1n, LIMIT - 4096n, 4096n]]),
      plain([[0n, 1n, 1n, LIMIT - 1n]]),
      { ...plain([[0n, 1n, LIMIT - 4096n, 4096n]]), pageCount: 2, isPlain: true },
      ...[new Uint8Array([65, 66]), new Uint8Array([65, 0]), "a\0b", "x".repeat(101), 7, undefined, null].map(
        (commandLine) => plain([[0n, 10n, 0n, 20n]], commandLine),
      ),
    ]),
    executions: 300,
    make: (random) => ({
      regions: makeRegions(random),
      commandLine: random.pick<Value>([
        "",
        "é".repeat(random.below(70)),
        random.bytes(random.below(12)),
        random.oneIn(4) ? 5 : "a",
      ]),
      longest: random.pick([0, 100, 2047]),
      pageCount: random.below(3),
      isPlain: random.oneIn(4),
    }),
    run: (input): Outcome => {
      const regions = toRegions(input);
      const line = checkLine(subject, input);
      const source = subject.openDriver("sync", file(), [FILE_BYTES]);
      const builder = subject.makePlan();
      const files = regions.map((region) => ({
        ...region,
        source,
        acceptance: "Exclusive" as const,
        tag: "segment",
      }));
      const isPlain = input["isPlain"] === true;
      const planned = observe(() => {
        if (isPlain) {
          const { gpa = 0n } = regions[0] ?? {};
          builder.bytes(gpa, "bytes", file().subarray(0, PAGE_BYTES + 1), Number(input["pageCount"]));
        } else {
          // As the loader of kernels does: each is checked as it is, and empty ones are left out.
          for (const region of files) subject.checkFileRegion(region);
          subject.planSegmentsSync(
            builder,
            files.filter(({ memoryLength }) => memoryLength > 0n),
          );
        }
      });
      // Each by itself: what is wrong with a region is told whatever the others are.
      for (const region of files) {
        const one = subject.makePlan();
        const alone = observe(() => one.fileRegion(region));
        const { fileLength, memoryLength, gpa, fileOffset } = region;
        const isRight =
          fileLength <= memoryLength &&
          (memoryLength === 0n || gpa + memoryLength <= LIMIT) &&
          (memoryLength === 0n || fileLength === 0n || fileOffset + fileLength <= BigInt(FILE_BYTES));
        expect(isRight || alone.code !== "ok", `a region that can't be true is taken: ${alone.detail}`);
        expect(
          alone.code !== "ok" || one.steps.length === (memoryLength === 0n ? 0 : 1),
          "steps are missing",
        );
      }
      const bytes = new Uint8Array(new ArrayBuffer(GUEST_BYTES)).fill(CANARY);
      const memory = GuestMemory.attach(bytes.buffer, [
        { guestPhysicalAddress: 0, byteOffset: 0, byteLength: GUEST_BYTES },
      ]);
      const applied = planned.code === "ok" ? observe(() => subject.applyPlanSync(builder, memory)) : planned;
      if (applied.code === "ok" && !isPlain) {
        const wanted = expected(regions);
        expect(wanted !== undefined, "a segment outside of RAM was loaded");
        expect(Buffer.compare(bytes, wanted) === 0, "segments have other bytes in memory");
      }
      return { kind: `${applied.code} ${line}`, isIdentified: planned.code === "ok" };
    },
  };
}

/** The command line's bytes, and its length; gives what came of it. */
function checkLine(subject: Subject, input: FuzzInput): string {
  const { commandLine } = input;
  const made = observe(() => subject.commandLineBytes(commandLine as string), { typeErrors: true });
  const longest = Number(input["longest"]);
  if (made.code !== "ok") return made.code;
  const bytes = made.value as Uint8Array;
  expect(!bytes.includes(0), "a NUL is in the command line");
  expect(
    typeof commandLine !== "string" || Buffer.from(bytes).toString("utf8") === commandLine,
    "the command line is another",
  );
  const { code } = observe(() => subject.checkCommandLineLength(bytes, longest));
  expect(
    (code === "ok") === bytes.byteLength <= longest,
    `${bytes.byteLength} bytes of ${longest} give ${code}`,
  );
  return code;
}
