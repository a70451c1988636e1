/** Tells where dropped files belong, by what is in them. */
import { decompressMember } from "directboot/decoders";
import { detectFormat, isCompressionFormat } from "../../src/images/detect.js";

type Slot = "kernel" | "initrd" | "deviceTree";

/** Bytes that detectFormat needs. */
const HEAD_BYTES = 0x210;
/** Devicetree Specification, 5.2: magic, big-endian. */
const DEVICE_TREE_MAGIC = [0xd0, 0x0d, 0xfe, 0xed];
/** Formats that are kernels and nothing else. */
const KERNEL_FORMATS = ["elf64", "elf32", "bzImage", "arm64-image", "zboot"];
/** More is in no kernel, and in few initrds. */
const MOST_UNPACKED = 1 << 30;

/** Where a file with that start belongs; undefined if it could be more than one thing. */
function slotOfHead(head: Uint8Array): Slot | undefined {
  if (DEVICE_TREE_MAGIC.every((byte, index) => head[index] === byte)) return "deviceTree";
  if (KERNEL_FORMATS.includes(detectFormat(head))) return "kernel";
  // "070701": a cpio archive (Documentation/driver-api/early-userspace/buffer-format.rst)
  return new TextDecoder("latin1").decode(head.subarray(0, 5)) === "07070" ? "initrd" : undefined;
}

async function slotOf(file: File): Promise<Slot | undefined> {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const format = detectFormat(head);
  if (!isCompressionFormat(format)) return slotOfHead(head);
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const { output } = decompressMember(format, bytes, { maxDecompressedSize: MOST_UNPACKED });
    return slotOfHead(output.subarray(0, HEAD_BYTES));
  } catch {
    return undefined;
  }
}

self.addEventListener("message", async ({ data }: MessageEvent<readonly File[]>) => {
  self.postMessage(await Promise.all(data.map((file) => slotOf(file).catch(() => undefined))));
});
