/**
 * Debian's vmlinux, streamed and gzipped by the real tool, makes the same guest memory as when it is read from a
 * file: its segments go straight to their places.
 */
import assert from "node:assert/strict";
import { createReadStream, openAsBlob, readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { before, describe, it } from "node:test";
import {
  BlobSource,
  FileSource,
  type GuestMemory,
  loadLinux,
  loadLinuxSync,
  type Source,
} from "../../src/index.js";
import { StreamSource } from "../../src/sources/stream.js";
import { gunzipSource } from "../../src/unpack/gzip-stream.js";
import { runProgram } from "../support/command.js";
import { tempFolder } from "../support/temp-folder.js";
import { debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";

const MIB = 1 << 20;
const MEMORY = 256 * MIB;
// Far below the kernel's 53 MB: what is streamed is not kept.
const SPOOL_LIMIT = MIB;

describe("Debian's vmlinux", () => {
  const folder = tempFolder();
  const packed = join(folder, "vmlinux.gz");
  let vmlinux = "";
  let wanted = 0;
  const checksum = (memory: GuestMemory): number => memory.crc32(0, MEMORY);
  before(async () => {
    vmlinux = await extractVmlinux((await debianKernel("amd64")).vmlinuz);
    wanted = checksum(loadLinuxSync({ kernel: vmlinux, memory: MEMORY }).memory);
    const { status } = await runProgram("sh", ["-c", 'gzip -1 -c "$1" >"$2"', "sh", vmlinux, packed]);
    assert.equal(status, 0);
  });

  const kinds: Readonly<Record<string, () => Promise<Source>>> = {
    "a file that is streamed": async () => {
      const stream = Readable.toWeb(createReadStream(vmlinux, { highWaterMark: 65_536 }));
      return new StreamSource(stream, { spoolLimit: SPOOL_LIMIT });
    },
    "a Blob of a file": async () => new BlobSource(await openAsBlob(vmlinux)),
    "the stream of a Blob": async () =>
      new StreamSource((await openAsBlob(vmlinux)).stream(), { spoolLimit: SPOOL_LIMIT }),
    "a gzipped file": async () =>
      gunzipSource(new FileSource(packed), { maxDecompressedSize: 128 * MIB, spoolLimit: SPOOL_LIMIT }),
    "a gzipped stream": async () => {
      const inner = new StreamSource(new Blob([readFileSync(packed)]).stream(), { spoolLimit: SPOOL_LIMIT });
      return gunzipSource(inner, { maxDecompressedSize: 128 * MIB, spoolLimit: SPOOL_LIMIT });
    },
  };
  for (const [kind, source] of Object.entries(kinds)) {
    it(`is the same from ${kind}`, async () => {
      const { memory } = await loadLinux({ kernel: await source(), memory: MEMORY });
      assert.equal(checksum(memory), wanted);
    });
  }

  it("is the same from a FileHandle, synchronously, and the handle stays open", async () => {
    const handle = await open(vmlinux);
    try {
      assert.equal(checksum(loadLinuxSync({ kernel: handle, memory: MEMORY }).memory), wanted);
      assert.ok((await handle.stat()).isFile());
    } finally {
      await handle.close();
    }
  });
});
