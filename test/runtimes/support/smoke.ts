/**
 * The smoke suite: what every runtime must give, as plain data that is held against what this repository's own build
 * gives. It is handed the package and imports nothing: the same file runs in Node, Bun, Deno, workerd and pages.
 */
import type * as DecodersApi from "../../../src/decoders/index.js";
import type * as Api from "../../../src/index.js";
import type * as LoaderApi from "../../../src/loader.js";

export interface SmokeInputs {
  /** guests/x86_64.elf */
  readonly x86: Uint8Array<ArrayBuffer>;
  /** guests/aarch64.img */
  readonly arm64: Uint8Array<ArrayBuffer>;
  readonly deviceTree: Uint8Array<ArrayBuffer>;
  /** The x86 guest, in each format. */
  readonly packed: Readonly<Record<DecodersApi.CompressionFormat, Uint8Array<ArrayBuffer>>>;
}

export interface SmokeOptions {
  /** The x86 guest as a file, where there are files. */
  readonly path?: string | undefined;
}

export interface SmokeReport {
  /** May differ: the implementation that runs. */
  readonly hotPaths: string;
  readonly decoders: string;
  /** The implementation of CRCs over a shared memory of the package's own. */
  readonly sharedHotPaths: string;
  /** May not differ. */
  readonly checks: Readonly<Record<string, unknown>>;
}

const MIB = 1 << 20;

/** Bytes that repeat after no power of two. */
function pattern(byteLength: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  for (let i = 0; i < byteLength; i++) bytes[i] = (i * 7 + (i >>> 8) + (i >>> 16)) & 0xff;
  return bytes;
}

/** As JSON has it. */
function plain(value: unknown): unknown {
  const text = JSON.stringify(value, (_, each: unknown) =>
    typeof each === "bigint" ? `0x${each.toString(16)}` : each,
  );
  return text === undefined ? undefined : JSON.parse(text);
}

/** The code of the package's error, or the name of another. */
async function refused(act: () => unknown): Promise<string> {
  try {
    await act();
    return "no error";
  } catch (error) {
    if (typeof error === "object" && error !== null && "code" in error) return String(error.code);
    return error instanceof Error ? error.name : String(error);
  }
}

function guestOf(guest: Api.LinuxGuest): unknown {
  return plain({
    architecture: guest.architecture,
    entryMode: guest.entryMode,
    by: guest.decompression?.by,
    registers: guest.registerList,
    pages: guest.regions.map(({ tag, range }) => ({
      tag,
      start: range.start,
      end: range.end,
      crc32: guest.memory.crc32(range.start, Number(range.end - range.start)),
    })),
  });
}

/** Runs everything. Throws what should not be thrown; a call that never ends is the caller's to notice. */
export async function smoke(
  api: typeof Api,
  loaderApi: typeof LoaderApi,
  decodersApi: typeof DecodersApi,
  inputs: SmokeInputs,
  { path }: SmokeOptions = {},
): Promise<SmokeReport> {
  const { x86, arm64, deviceTree, packed } = inputs;
  const { crc32, GuestMemory, loadLinux, loadLinuxSync } = api;
  const memory = 64 * MIB;
  const options = { memory, commandLine: "console=ttyS0" };
  const checks: Record<string, unknown> = {};

  const bytes = pattern(MIB + 77);
  checks["crc32"] = [
    crc32(bytes.subarray(0, 77)),
    crc32(bytes),
    crc32(bytes.subarray(77), crc32(bytes.subarray(0, 77))),
  ];

  const tables = loaderApi.buildPageTables64({ pageTableGpa: 0x4000, size: "8GiB" });
  checks["page tables"] = [tables.byteLength, crc32(tables)];

  const initrd = bytes.subarray(0, 12_345);
  checks["x86"] = guestOf(loadLinuxSync({ kernel: x86, initrd, ...options }));
  checks["x86, asynchronously"] = guestOf(await loadLinux({ kernel: x86, initrd, ...options }));
  checks["x86, from a Blob"] = guestOf(await loadLinux({ kernel: new Blob([x86]), initrd, ...options }));
  checks["x86, from a Response"] = guestOf(
    await loadLinux({ kernel: new Response(x86), initrd, ...options }),
  );
  const stream = new Response(x86).body;
  if (stream === null) throw new Error("a Response without a body");
  checks["x86, from a stream"] = guestOf(await loadLinux({ kernel: stream, initrd, ...options }));
  const own = new ArrayBuffer(memory);
  loadLinuxSync({ kernel: x86, initrd, commandLine: options.commandLine, memory: own });
  checks["x86, into an ArrayBuffer"] = crc32(new Uint8Array(own));
  const ownMemory = new WebAssembly.Memory({ initial: memory / 65536 });
  loadLinuxSync({ kernel: x86, initrd, commandLine: options.commandLine, memory: ownMemory });
  checks["x86, into a WebAssembly.Memory"] = crc32(new Uint8Array(ownMemory.buffer));
  if (path !== undefined) {
    checks["x86, from a path"] = guestOf(loadLinuxSync({ kernel: path, initrd, ...options }));
    checks["x86, from a path, asynchronously"] = guestOf(
      await loadLinux({ kernel: path, initrd, ...options }),
    );
  }
  checks["arm64"] = guestOf(loadLinuxSync({ kernel: arm64, deviceTree, ...options }));
  checks["arm64, asynchronously"] = guestOf(await loadLinux({ kernel: arm64, deviceTree, ...options }));

  const isWasm = decodersApi.decoders.implementation === "wasm";
  for (const [name, input] of Object.entries(packed)) {
    const format = name as DecodersApi.CompressionFormat;
    const decode = (): Uint8Array => decodersApi.decompress(format, input, { maxDecompressedSize: MIB });
    // Streams of gzip are the platform's, in a page without WebAssembly, too.
    if (isWasm || format === "gzip") {
      checks[`x86, of ${format}`] = guestOf(await loadLinux({ kernel: input, initrd, ...options }));
    }
    if (isWasm) {
      const output = decode();
      checks[`decompress ${format}`] = [output.byteLength, crc32(output)];
      const sync = { kernel: input, initrd, decoders: decodersApi, ...options };
      checks[`x86, of ${format}, synchronously`] = guestOf(loadLinuxSync(sync));
    } else if (format !== "gzip") {
      checks[`decompress ${format}`] = await refused(decode);
    }
  }

  const shared = GuestMemory.create(16 * MIB, { shared: true });
  shared.write(5, pattern(12 * MIB));
  checks["crc32 of shared memory"] = shared.crc32(5, 12 * MIB);

  const truncated = x86.slice(0, 3000);
  checks["errors"] = {
    garbage: await refused(() => loadLinuxSync({ kernel: bytes, memory })),
    "garbage, asynchronously": await refused(() => loadLinux({ kernel: bytes, memory })),
    truncated: await refused(() => loadLinux({ kernel: truncated, memory })),
    "little memory": await refused(() => loadLinuxSync({ kernel: x86, memory: MIB })),
    "a NUL": await refused(() => loadLinuxSync({ kernel: x86, memory, commandLine: "a\0b" })),
    "too much memory": await refused(() => GuestMemory.create(2n ** 52n)),
    corrupt: await refused(() =>
      loadLinux({ kernel: packed.gzip.map((byte, i) => (i > 900 ? byte ^ 1 : byte)), memory }),
    ),
    aborted: await refused(() => loadLinux({ kernel: x86, memory, signal: AbortSignal.abort() })),
    "a wrong type": await refused(() => Reflect.apply(loadLinuxSync, undefined, [{ kernel: 1, memory }])),
    "an unknown choice": await refused(() => Reflect.apply(api.hotPaths.use, undefined, ["x"])),
  };
  if (path !== undefined) {
    checks["no such path"] = await refused(() => loadLinuxSync({ kernel: `${path}.not`, memory }));
  }

  return {
    hotPaths: api.hotPaths.implementation,
    decoders: decodersApi.decoders.implementation,
    sharedHotPaths: sharedHotPathsOf(shared),
    checks,
  };
}

/** The implementation of the hot paths over a memory. */
function sharedHotPathsOf(shared: Api.GuestMemory): string {
  let implementation = "unknown";
  shared.generate(0, 4096, (hotPaths) => {
    implementation = hotPaths.implementation;
  });
  return implementation;
}
