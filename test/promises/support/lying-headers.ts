/**
 * Run as a program of its own: loads kernels whose headers ask for far more than there is, and prints, as JSON, the largest
 * buffer that was asked for by each, and by how much the process grew in all. The constructors are watched before anything
 * of directboot is imported.
 */
const largest = { bytes: 0 };

function watch(target: object, name: string, bytesOf: (args: readonly unknown[]) => number): void {
  const original: unknown = Reflect.get(target, name);
  if (typeof original !== "function") return;
  Reflect.set(
    target,
    name,
    new Proxy(original, {
      construct: (made, args: unknown[]) => {
        largest.bytes = Math.max(largest.bytes, bytesOf(args));
        return Reflect.construct(made, args);
      },
    }),
  );
}
const byteLength = ([first]: readonly unknown[]): number => (typeof first === "number" ? first : 0);
watch(globalThis, "ArrayBuffer", byteLength);
watch(globalThis, "SharedArrayBuffer", byteLength);
watch(globalThis, "Uint8Array", byteLength);
watch(WebAssembly, "Memory", ([first]) =>
  typeof first === "object" && first !== null && "initial" in first ? Number(first.initial) * 65_536 : 0,
);

const { loadLinux, loadLinuxSync, GuestMemory, MemoryLayout } = await import("../../../src/index.js");
const decoders = await import("../../../src/decoders/index.js");
const { DirectBootError } = await import("../../../src/base/errors.js");
const { makeElf } = await import("../../support/elf-maker.js");
const { makeBzImage } = await import("../../support/bzimage-maker.js");
const { makeZboot } = await import("../../support/zboot-maker.js");
const { makeImage, makeVmlinux, bzImageAround, withTrailer } = await import(
  "../../support/packed-kernels.js"
);
const { memoryTree } = await import("../../support/device-tree-maker.js");
const { makeStream } = await import("../../support/streams.js");
const { compress, ONE_OF_EACH } = await import("../../decoders/tools.js");

const MIB = 1 << 20;
const RAM = 32 * MIB;

/** A copy with 0xff in place of some bytes. */
function lie(bytes: Uint8Array, offset: number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(bytes).fill(0xff, offset, offset + length);
}

const segment = { paddr: 0x10_0000n, memsz: 4096n, filesz: 100n, offset: 64n };
const elf = makeElf({ entry: 0x10_0000n, segments: [segment], byteLength: 4000 });
const image = makeImage(100_000);
const kernels: Record<string, Uint8Array> = {
  "p_memsz 2^63": makeElf({ entry: 0x10_0000n, segments: [{ ...segment, memsz: 1n << 63n }] }),
  "p_memsz all of RAM, and more": makeElf({
    entry: 0x10_0000n,
    segments: [{ ...segment, memsz: 1n << 40n }],
  }),
  "p_filesz 2^63": lie(elf, 64 + 32, 7),
  "p_offset 2^63": lie(elf, 64 + 8, 7),
  "e_phnum 65534": makeElf({ phnum: 65_534, byteLength: 4000 }),
  "e_phnum in section 0, 2^32 - 1": lie(makeElf({ phnum: 0xffff, shoff: 1000n, byteLength: 4000 }), 1044, 4),
  "65534 segments": makeElf({
    entry: 0x10_0000n,
    segments: Array.from({ length: 65_534 }, () => ({ type: 5 })),
  }),
  "notes of 2^62 bytes": makeElf({
    entry: 0x10_0000n,
    segments: [segment, { type: 4, filesz: 0n, memsz: 1n }],
  }),
  init_size: makeBzImage({ fields: [[0x260, 4, 0xffff_ffff]] }),
  syssize: makeBzImage({ syssize: 0xffff_ffff }),
  payload_length: makeBzImage({ payloadOffset: 16, payloadLength: 0xffff_ffff }),
  payload_offset: makeBzImage({ payloadOffset: 0xffff_fff0, payloadLength: 16 }),
  "kernel_alignment and pref_address": makeBzImage({
    fields: [
      [0x230, 4, 0x8000_0000],
      [0x258, 8, 1n << 63n],
    ],
  }),
  image_size: lie(image, 16, 7),
  text_offset: lie(image, 8, 7),
  "zboot payload size": makeZboot({ payloadLength: 0xffff_ffff }),
  "zboot payload offset": makeZboot({ payloadOffset: 0xffff_ffff }),
};
const vmlinux = makeVmlinux(100_000);
for (const method of ONE_OF_EACH) {
  const packed = compress(method, vmlinux);
  // Every field of the header, whatever it is, and what stands at the end (ISIZE, the index of .xz).
  for (let at = 0; at < 30; at += 2) kernels[`${method.format}, bytes ${at} and on`] = lie(packed, at, 4);
  for (let at = 4; at <= 16; at += 4)
    kernels[`${method.format}, ${at} from the end`] = lie(packed, packed.length - at, 4);
  const payload = withTrailer(method, packed, vmlinux.length);
  kernels[`bzImage of ${method.format}, size behind the payload`] = bzImageAround({
    payload: lie(payload, payload.length - 4, 4),
  });
}
// Sizes that real tools don't write: a zstd frame of 2^62 bytes in one segment, an LZMA stream of 2^62 with the largest
// dictionary.
kernels["zstd content size"] = Uint8Array.of(
  0x28,
  0xb5,
  0x2f,
  0xfd,
  0xe0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0x40,
  1,
  0,
  0,
  0,
  0,
  0,
);
kernels["lzma size"] = Uint8Array.of(
  0x5d,
  0xff,
  0xff,
  0xff,
  0xff,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0x40,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
);

const found: Record<string, number> = {};
const leaks: string[] = [];
let worst = 0;

async function attempt(what: string, act: () => unknown): Promise<void> {
  largest.bytes = 0;
  try {
    await act();
  } catch (cause) {
    if (!(cause instanceof DirectBootError)) leaks.push(`${what}: ${cause}`);
  }
  found[what] = largest.bytes;
  worst = Math.max(worst, largest.bytes);
}

const memory = GuestMemory.create(RAM);
const deviceTree = memoryTree(RAM);
const arm = GuestMemory.create(new MemoryLayout([{ start: 0x4000_0000, end: 0x4000_0000 + RAM }]));
// Code that is loaded once is no part of the measure.
await loadLinux({ kernel: vmlinux, memory });
loadLinuxSync({ kernel: vmlinux, memory, decoders });
loadLinuxSync({ kernel: compress(ONE_OF_EACH[0] ?? process.exit(2), vmlinux), memory, decoders });
memory.reset();
const before = process.resourceUsage().maxRSS;
for (const [what, kernel] of Object.entries(kernels)) {
  const isArm = what.startsWith("zboot") || what === "image_size" || what === "text_offset";
  const target = { memory: isArm ? arm : memory, deviceTree: isArm ? deviceTree : undefined };
  await attempt(`${what}, synchronously`, () => loadLinuxSync({ kernel, ...target, decoders }));
  await attempt(`${what}, as a stream`, () =>
    loadLinux({ kernel: makeStream(kernel, { chunks: [60_000] }).stream, ...target }),
  );
}
for (const at of [4, 8, 12, 16, 32, 36]) {
  await attempt(`device tree, field ${at}`, () =>
    loadLinuxSync({ kernel: image, deviceTree: lie(deviceTree, at, 4), memory: RAM }),
  );
}
const grown = (process.resourceUsage().maxRSS - before) * 1024;
process.stdout.write(JSON.stringify({ found, leaks, worst, grown, input: 65_534 * 56 }));
