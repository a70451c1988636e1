/**
 * The ELF inside a bzImage, taken out by the system's own decompressors: an opinion on what directboot's
 * decoders must produce, and a kernel for the tests that do not want to depend on them.
 */

import { spawn } from "node:child_process";
import { access, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { writeFileAtomically } from "./cache.js";

// Offsets in the file, from the kernel's Documentation/arch/x86/boot.rst.
const SETUP_SECTS = 0x1f1;
const HEADER_MAGIC = 0x202;
const PROTOCOL_VERSION = 0x206;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const SECTOR = 512;
/** boot.rst: 0 means 4, for the sake of very old kernels. */
const DEFAULT_SETUP_SECTS = 4;

interface Decompressor {
  readonly magic: readonly number[];
  readonly program: string;
  readonly args: readonly string[];
  readonly debianPackage: string;
}

const DECOMPRESSORS: readonly Decompressor[] = [
  // The legacy frame has no end mark: the trailer must be cut off, or lz4 takes it for a block's length.
  { magic: [0x02, 0x21, 0x4c, 0x18], program: "lz4", args: ["-d", "-c"], debianPackage: "lz4" },
  // The trailer is cut off here, too; --single-stream would ignore whatever else follows the stream.
  {
    magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
    program: "xz",
    args: ["-d", "-c", "--single-stream"],
    debianPackage: "xz-utils",
  },
];

/** Path of the ELF inside the bzImage; it is cached beside the bzImage. */
export async function extractVmlinux(vmlinuz: string): Promise<string> {
  const target = join(dirname(vmlinuz), `${basename(vmlinuz).replace(/^vmlinuz/, "vmlinux")}.elf`);
  try {
    await access(target);
    return target;
  } catch {
    // Not extracted yet. Two processes may do so at once: each writes its own file, and the last rename wins.
  }
  const file = await readFile(vmlinuz);
  if (file.length < 0x268 || file.toString("latin1", HEADER_MAGIC, HEADER_MAGIC + 4) !== "HdrS") {
    throw new Error(`${vmlinuz} is not a bzImage`);
  }
  if (file.readUInt16LE(PROTOCOL_VERSION) < 0x208) {
    throw new Error(`${vmlinuz} speaks a boot protocol before 2.08, which does not name its payload`);
  }
  const setupSects = file.readUInt8(SETUP_SECTS) || DEFAULT_SETUP_SECTS;
  const start = (setupSects + 1) * SECTOR + file.readUInt32LE(PAYLOAD_OFFSET);
  const end = start + file.readUInt32LE(PAYLOAD_LENGTH);
  if (end > file.length || end - start < 8)
    throw new Error(`the payload of ${vmlinuz} lies outside the file`);

  // The kernel's build appends the uncompressed size to every payload whose format does not end with it.
  const size = file.readUInt32LE(end - 4);
  const payload = file.subarray(start, end - 4);
  const decompressor = DECOMPRESSORS.find(({ magic }) =>
    magic.every((byte, index) => payload[index] === byte),
  );
  if (decompressor === undefined) {
    throw new Error(
      `the payload of ${vmlinuz} starts with ${payload.toString("hex", 0, 6)}, neither LZ4 nor xz`,
    );
  }
  const elf = await decompress(decompressor, payload);
  if (elf.length !== size) {
    throw new Error(`${vmlinuz} unpacks to ${elf.length} bytes, but its trailer says ${size}`);
  }
  if (elf.toString("latin1", 0, 4) !== "\x7fELF")
    throw new Error(`what ${vmlinuz} unpacks to is not an ELF file`);
  await writeFileAtomically(target, elf);
  return target;
}

function decompress({ program, args, debianPackage }: Decompressor, payload: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    const output: Buffer[] = [];
    let complaints = "";
    child.on("error", (error) => {
      reject(new Error(`cannot run ${program} (Debian package ${debianPackage})`, { cause: error }));
    });
    child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      complaints += chunk;
    });
    child.on("close", (code) => {
      if (code === 0) resolve(Buffer.concat(output));
      else reject(new Error(`${program} failed with status ${code}: ${complaints.trim()}`));
    });
    // A decompressor that gives up early closes its end; its exit status tells more than our EPIPE.
    child.stdin.on("error", () => {});
    child.stdin.end(payload);
  });
}
