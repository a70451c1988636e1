import assert from "node:assert/strict";
import { closeSync, mkdirSync, openSync, readdirSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { DirectBootError } from "../../src/base/errors.js";
import { FileSource } from "../../src/sources/file.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const GIB = 2 ** 30;
const folder = tempFolder();

function makeFile(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** Descriptors that this process has open. */
function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

describe("FileSource", () => {
  const bytes = noise(100_000);
  const path = makeFile("kernel", bytes);

  it("has the length of the file, and the path or URL for a name", () => {
    const file = new FileSource(path);
    assert.equal(file.byteLength, 100_000);
    assert.equal(file.name, path);
    file.close();
    const url = pathToFileURL(path);
    const fromUrl = new FileSource(url);
    assert.equal(fromUrl.name, url.href);
    fromUrl.close();
  });

  it("refuses a FIFO that nobody writes to, at once", () => {
    const fifo = join(folder, "fifo");
    runTool("coreutils", "mkfifo", [fifo]);
    assert.throws(() => new FileSource(fifo), refusal("SOURCE_NOT_FOUND", "not a regular file"));
  });

  const targets: Readonly<Record<string, (byteLength: number) => Uint8Array>> = {
    ArrayBuffer: (byteLength) => new Uint8Array(new ArrayBuffer(byteLength + 5), 5),
    SharedArrayBuffer: (byteLength) => new Uint8Array(new SharedArrayBuffer(byteLength + 64), 64),
    "WebAssembly.Memory": (byteLength) =>
      new Uint8Array(new WebAssembly.Memory({ initial: 2 }).buffer, 4096, byteLength),
    "shared WebAssembly.Memory": (byteLength) =>
      new Uint8Array(new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true }).buffer, 1, byteLength),
  };
  for (const [kind, make] of Object.entries(targets)) {
    it(`reads any part into a view over a ${kind}, synchronously and asynchronously the same`, async () => {
      const file = new FileSource(path);
      try {
        for (const [offset, length] of [
          [0, 100_000],
          [0, 0],
          [100_000, 0],
          [99_999, 1],
          [12_345, 67_890],
        ] as const) {
          const [first, second] = [make(length), make(length)];
          file.readSync(first, offset);
          await file.read(second, offset);
          const expected = bytes.subarray(offset, offset + length);
          assert.equal(Buffer.compare(first, expected), 0);
          assert.equal(Buffer.compare(second, expected), 0);
        }
      } finally {
        file.close();
      }
    });
  }

  it("reads at positions: the order of reads does not matter", () => {
    const file = new FileSource(path);
    const [late, early] = [new Uint8Array(10), new Uint8Array(10)];
    file.readSync(late, 90_000);
    file.readSync(early, 10);
    file.close();
    assert.deepEqual(late, bytes.slice(90_000, 90_010));
    assert.deepEqual(early, bytes.slice(10, 20));
  });

  it("a file that is missing, a folder, and what is no regular file are SOURCE_NOT_FOUND", () => {
    const missing = join(folder, "missing");
    assert.throws(
      () => new FileSource(missing),
      (error) => {
        refusal("SOURCE_NOT_FOUND", missing, "ENOENT")(error);
        assert.ok(error instanceof DirectBootError && error.cause instanceof Error);
        return true;
      },
    );
    const inside = join(folder, "folder");
    mkdirSync(inside);
    for (const other of [inside, "/dev/null", "/dev/zero"]) {
      assert.throws(() => new FileSource(other), refusal("SOURCE_NOT_FOUND", other, "regular"));
    }
    assert.throws(() => new FileSource("a\0b"), refusal("SOURCE_NOT_FOUND"));
    for (const url of [new URL("https://example.org/vmlinux"), "http://example.org/vmlinux"]) {
      assert.throws(() => new FileSource(url), refusal("SOURCE_NOT_FOUND", "give await fetch(url)"));
    }
  });

  it("leaves no file open when it can't be opened, nor after close", () => {
    const before = openDescriptors();
    assert.throws(() => new FileSource(folder), DirectBootError);
    assert.throws(() => new FileSource(join(folder, "missing")), DirectBootError);
    assert.equal(openDescriptors(), before);
    const file = new FileSource(path);
    assert.equal(openDescriptors(), before + 1);
    file.close();
    file.close();
    assert.equal(openDescriptors(), before);
  });

  it("can't be read when it is closed", async () => {
    const file = new FileSource(path);
    file.close();
    const matches = refusal("SOURCE_READ", path, "closed");
    assert.throws(() => file.readSync(new Uint8Array(1), 0), matches);
    await assert.rejects(file.read(new Uint8Array(1), 0), matches);
  });

  it("refuses to read past its end", async () => {
    const file = new FileSource(path);
    const matches = refusal("SOURCE_SHORT", path, "100000");
    assert.throws(() => file.readSync(new Uint8Array(2), 99_999), matches);
    await assert.rejects(file.read(new Uint8Array(2), 99_999), matches);
    file.close();
  });

  it("says where a file ended that was truncated after it was opened", async () => {
    const shrinking = makeFile("shrinking", noise(10_000));
    const file = new FileSource(shrinking);
    truncateSync(shrinking, 4000);
    const matches = refusal("SOURCE_SHORT", shrinking, "byte 4000", "8000 bytes from 1000");
    assert.throws(() => file.readSync(new Uint8Array(8000), 1000), matches);
    await assert.rejects(file.read(new Uint8Array(8000), 1000), matches);
    file.close();
  });

  it("stops when it is aborted, with the reason as the cause", async () => {
    const file = new FileSource(path);
    const reason = new Error("enough");
    await assert.rejects(file.read(new Uint8Array(10), 0, AbortSignal.abort(reason)), (error) => {
      refusal("ABORTED", path)(error);
      assert.ok(error instanceof DirectBootError);
      assert.equal(error.cause, reason);
      return true;
    });
    file.close();
  });

  it("reads beyond 2 GiB, and more than 2 GiB at once", async () => {
    const large = join(folder, "large");
    const descriptor = openSync(large, "w");
    const marks = [0, GIB - 3, 2 * GIB - 5, 2 * GIB + 4000, 5 * GIB];
    for (const [index, at] of marks.entries()) writeSync(descriptor, noise(8, index + 1), 0, 8, at);
    closeSync(descriptor);
    const file = new FileSource(large);
    assert.equal(file.byteLength, 5 * GIB + 8);
    const far = new Uint8Array(8);
    file.readSync(far, 5 * GIB);
    assert.deepEqual(far, noise(8, 5));
    await file.read(far.fill(0), 2 * GIB - 5);
    assert.deepEqual(far, noise(8, 3));

    const length = 2 * GIB + 4096;
    const memory = new WebAssembly.Memory({ initial: length / 65536 + 1 });
    const target = new Uint8Array(memory.buffer, 16, length);
    const check = (): void => {
      for (const [index, at] of marks.slice(0, 4).entries()) {
        assert.deepEqual(target.slice(at, at + 8), noise(8, index + 1), `at ${at}`);
        target.fill(0, at, at + 8);
      }
    };
    file.readSync(target, 0);
    check();
    await file.read(target, 0);
    check();
    file.close();
  });
});
