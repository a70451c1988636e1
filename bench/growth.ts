/** How time and throughput grow with size, drawn as bench/growth-*.svg. */
import { writeFileSync } from "node:fs";
import { freemem } from "node:os";
import { createCRC32 } from "hash-wasm";
import { loadLinuxSync } from "../src/index.js";
import { type Case, measureCase, median, type Row } from "./harness.js";
import { GIB, Image, KIB, MIB } from "./image.js";
import { plot, type Series, type Tick } from "./plot.js";
import { formatTime } from "./report.js";
import { crc32Contenders, crc32Data } from "./suites/crc32.js";
import { bounce, freshRam, readFileAndSet } from "./suites/load.js";

/** This file lies in build/bench/. */
const BENCH = new URL("../../bench/", import.meta.url);
const ROUNDS = 7;
const SWEEPS = 5;
/** RAM beyond the kernel, which begins at 16 MiB. */
const SLACK_BYTES = 24 * MIB;
/** Node reads no file of 2 GiB or more in one piece. */
const MOST_READ_FILE_BYTES = 2 * GIB - 2 * MIB;

function sizeLabel(bytes: number): string {
  if (bytes >= GIB) return `${bytes / GIB} GiB`;
  if (bytes >= MIB) return `${bytes / MIB} MiB`;
  return bytes >= KIB ? `${bytes / KIB} KiB` : `${bytes} B`;
}

/** One line a contender: `names` maps names of rows to those in the legend. */
function series(
  names: Readonly<Record<string, string>>,
  measured: readonly { bytes: number; rows: readonly Row[] }[],
  value: (row: Row) => number,
): Series[] {
  return Object.entries(names).map(([row, name]) => ({
    name,
    points: measured.flatMap(({ bytes, rows }) => {
      const found = rows.find((each) => each.name === row);
      return found === undefined ? [] : [[bytes, value(found)] as const];
    }),
  }));
}

/** The same rows, measured several times, as one. */
function medianRows(sweeps: readonly (readonly Row[])[]): Row[] {
  return (sweeps[0] ?? []).map((row, i) => ({
    ...row,
    nsPerOp: median(sweeps.map((rows) => rows[i]?.nsPerOp ?? Number.NaN)),
    bytesPerSecond: median(sweeps.map((rows) => rows[i]?.bytesPerSecond ?? Number.NaN)),
  }));
}

function say(bytes: number, rows: readonly Row[], value: (row: Row) => string): void {
  const values = rows.map((row) => `${row.name} ${value(row)}`);
  process.stdout.write(`  ${sizeLabel(bytes).padEnd(8)} ${values.join(", ")}\n`);
}

async function growthOfLoad(quick: boolean): Promise<void> {
  // The largest takes twice its size: the file in the page cache, and the guest.
  const most = quick ? 64 * MIB : freemem() > 8 * GIB ? 2 * GIB : GIB;
  const image = new Image();
  const measured: { bytes: number; rows: Row[] }[] = [];
  process.stdout.write("\nload time against image size\n");
  try {
    for (let bytes = MIB; bytes <= most; bytes *= 2) {
      image.grow(bytes);
      const { path } = image;
      const ram = bytes + SLACK_BYTES;
      const one: Case = {
        size: sizeLabel(bytes),
        byteLength: bytes,
        contenders: {
          ours: () => loadLinuxSync({ kernel: path, memory: ram }),
          ...(bytes < MOST_READ_FILE_BYTES
            ? { "readFileSync + set": () => readFileAndSet(path, freshRam(ram)) }
            : {}),
          bounce: () => bounce(path, bytes, freshRam(ram)),
        },
      };
      // Small ones are over soon, and more easily disturbed.
      const rounds = quick ? 3 : bytes <= 64 * MIB ? ROUNDS * 3 : ROUNDS;
      const rows = await measureCase(one, { rounds, milliseconds: 0, collects: true });
      measured.push({ bytes, rows });
      say(bytes, rows, (row) => formatTime(row.nsPerOp));
    }
  } finally {
    image.close();
  }
  const xTicks = measured.map(({ bytes }): Tick => [bytes, sizeLabel(bytes).replace(" ", "\u00a0")]);
  const times: readonly Tick[] = [1e6, 1e7, 1e8, 1e9, 1e10].map((ns) => [ns, formatTick(ns)]);
  const lines = series(
    {
      ours: "directboot",
      bounce: "64 KiB bounce, set",
      "readFileSync + set": "readFileSync, set",
    },
    measured,
    (row) => row.nsPerOp,
  );
  const largest = Math.max(...lines.flatMap(({ points }) => points.map(([, ns]) => ns)));
  const svg = plot({
    title: "Time to load an ELF kernel into new guest memory",
    subtitle: "file in the page cache, synchronous, median; lower is better",
    xLabel: "size of the kernel",
    yLabel: "time",
    xTicks: xTicks.filter((_, i) => i % 2 === (xTicks.length - 1) % 2),
    yTicks: times.filter(([ns]) => ns < largest * 4),
    series: lines,
  });
  writeFileSync(new URL("growth-load.svg", BENCH), svg);
}

function formatTick(ns: number): string {
  return ns >= 1e9 ? `${ns / 1e9} s` : `${ns / 1e6} ms`;
}

async function growthOfCrc32(quick: boolean): Promise<void> {
  const most = quick ? MIB : 64 * MIB;
  const { memory, host } = crc32Data(most);
  const hasher = await createCRC32();
  const sweeps = new Map<number, Row[][]>();
  process.stdout.write("\nCRC-32 throughput against size\n");
  const names = {
    "directboot, in guest memory": "directboot, in guest RAM",
    "directboot, Uint8Array": "directboot, Uint8Array",
    "@node-rs/crc32": "@node-rs/crc32 (native)",
    "node:zlib": "node:zlib (native)",
    "crc-32": "crc-32",
  };
  // A disturbance of the machine lasts for seconds, longer than one size does: all sizes again and again.
  for (let sweep = 0; sweep < (quick ? 1 : SWEEPS); sweep++) {
    for (let bytes = 64; bytes <= most; bytes *= 2) {
      const all = crc32Contenders(memory, host, bytes, hasher);
      const contenders = Object.fromEntries(Object.entries(all).filter(([name]) => name in names));
      const one: Case = { size: sizeLabel(bytes), byteLength: bytes, contenders };
      const rows = await measureCase(one, { rounds: 3, milliseconds: 10 });
      sweeps.set(bytes, [...(sweeps.get(bytes) ?? []), rows]);
    }
  }
  const measured = [...sweeps].map(([bytes, all]) => ({ bytes, rows: medianRows(all) }));
  for (const { bytes, rows } of measured) {
    say(bytes, rows, (row) => `${(row.bytesPerSecond / 1e9).toFixed(2)} GB/s`);
  }
  const lines = series(names, measured, (row) => row.bytesPerSecond / 1e9);
  const values = lines.flatMap(({ points }) => points.map(([, speed]) => speed));
  const ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];
  const svg = plot({
    title: "CRC-32 throughput",
    subtitle: "one thread, median; higher is better",
    xLabel: "bytes checked",
    yLabel: "GB/s",
    xTicks: measured.filter((_, i) => i % 4 === 0).map(({ bytes }): Tick => [bytes, sizeLabel(bytes)]),
    yTicks: ticks
      .filter((value) => value > Math.min(...values) / 2 && value < Math.max(...values) * 2)
      .map((value): Tick => [value, String(value)]),
    series: lines,
  });
  writeFileSync(new URL("growth-crc32.svg", BENCH), svg);
}

/** Measures and draws both; loading first, in a process that holds little: the CRCs' memories are 128 MiB. */
export async function drawGrowth(quick: boolean): Promise<void> {
  await growthOfLoad(quick);
  await growthOfCrc32(quick);
  process.stdout.write("\nbench/growth-crc32.svg and bench/growth-load.svg are drawn\n");
}
