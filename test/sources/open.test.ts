import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { FileSource } from "../../src/sources/file.js";
import { openSource } from "../../src/sources/open.js";
import { readBytes } from "../../src/sources/reading.js";
import { type AsyncByteInput, type ByteInput, isSyncSource } from "../../src/sources/source.js";
import { runAsync, runSync } from "../../src/task/run.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();

describe("openSource", () => {
  const bytes = noise(1000);
  const path = join(folder, "kernel");
  writeFileSync(path, bytes);

  const inputs: Readonly<Record<string, ByteInput>> = {
    "a Uint8Array": new Uint8Array([0, ...bytes]).subarray(1),
    "a Buffer": Buffer.from(bytes),
    "an ArrayBuffer": bytes.slice().buffer,
    "a path": path,
    "a file: URL": pathToFileURL(path),
    "a Source": new FileSource(path),
  };
  for (const [kind, input] of Object.entries(inputs)) {
    it(`makes a source of ${kind}`, () => {
      const { source, close } = openSource(input, "kernel");
      assert.equal(source.byteLength, 1000);
      assert.deepEqual(
        Buffer.from(runSync(readBytes(source, 100, 800))),
        Buffer.from(bytes.subarray(100, 900)),
      );
      close();
    });
  }

  const asyncInputs: Readonly<Record<string, () => AsyncByteInput>> = {
    "a Blob": () => new Blob([bytes]),
    "a File": () => new File([bytes], "kernel"),
    "a Response": () => new Response(bytes),
    "a ReadableStream": () => makeStream(bytes, { chunks: [7] }).stream,
    "the stream of a Blob": () => new Blob([bytes]).stream(),
  };
  for (const [kind, input] of Object.entries(asyncInputs)) {
    it(`makes a source of ${kind} that can be read asynchronously only`, async () => {
      const { source, close } = openSource(input(), "kernel");
      assert.equal(source.name, "kernel");
      assert.ok(!isSyncSource(source));
      assert.throws(() => runSync(readBytes(source, 0, 1)), refusal("SOURCE_NOT_SYNCHRONOUS", "kernel"));
      assert.ok(isSame(await runAsync(readBytes(source, 100, 800)), bytes.subarray(100, 900)));
      close();
    });
  }

  it("ends the streams that it opened, and gives them their spoolLimit", async () => {
    const made = makeStream(bytes);
    const { source, close } = openSource(made.stream, "kernel", { spoolLimit: 10 });
    await assert.rejects(source.read(new Uint8Array(11), 0), refusal("SOURCE_SPOOL_LIMIT", "10"));
    await source.read(new Uint8Array(10), 0);
    close();
    close();
    assert.ok(made.isCancelled());
    assert.ok(!made.stream.locked);
  });

  it("reads a FileHandle both ways, at positions, and leaves it open", async () => {
    const handle = await open(path);
    try {
      const { source, close } = openSource(handle, "kernel");
      assert.equal(source.name, "kernel");
      assert.equal(source.byteLength, 1000);
      assert.ok(isSame(runSync(readBytes(source, 100, 800)), bytes.subarray(100, 900)));
      assert.ok(isSame(await runAsync(readBytes(source, 1, 999)), bytes.subarray(1)));
      close();
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(10), 0, 10);
      assert.equal(bytesRead, 10);
      assert.ok(isSame(buffer, bytes.subarray(0, 10)));
    } finally {
      await handle.close();
    }
  });

  it("of a FileHandle that its owner closed is SOURCE_READ or SOURCE_NOT_FOUND, never another file", async () => {
    const handle = await open(path);
    const { source } = openSource(handle, "kernel");
    await handle.close();
    // The descriptor's number is free again, and this takes it.
    const other = await open(new URL(import.meta.url));
    try {
      assert.throws(() => runSync(readBytes(source, 0, 1)), refusal("SOURCE_READ", "closed"));
      await assert.rejects(runAsync(readBytes(source, 0, 1)), refusal("SOURCE_READ", "closed"));
      assert.throws(() => openSource(handle, "kernel"), refusal("SOURCE_NOT_FOUND", "kernel"));
    } finally {
      await other.close();
    }
  });

  it("of a FileHandle of a folder is SOURCE_NOT_FOUND", async () => {
    const handle = await open(folder);
    try {
      assert.throws(() => openSource(handle, "kernel"), refusal("SOURCE_NOT_FOUND", "not a regular file"));
    } finally {
      await handle.close();
    }
  });

  it("closes what it opened, and leaves the caller's own source open", async () => {
    const opened = openSource(path, "kernel");
    opened.close();
    await assert.rejects(opened.source.read(new Uint8Array(1), 0), refusal("SOURCE_READ", "closed"));
    const own = new FileSource(path);
    const kept = openSource(own, "kernel");
    assert.equal(kept.source, own);
    kept.close();
    own.readSync(new Uint8Array(1), 0);
    own.close();
  });

  it("names bytes after what they are for, and keeps a source's name", () => {
    assert.equal(openSource(bytes, "initrd").source.name, "initrd");
    assert.equal(openSource(asyncOnly(bytes, "mine"), "initrd").source.name, "mine");
  });

  it("takes an empty input: whether that is wrong is not for it to say", () => {
    assert.equal(openSource(new Uint8Array(0), "initrd").source.byteLength, 0);
  });

  it("is a TypeError for anything else, which it names", () => {
    const others: readonly [unknown, string][] = [
      [undefined, "undefined"],
      [null, "null"],
      [42, "42"],
      [{}, "Object"],
      [[1, 2], "Array"],
      [new DataView(new ArrayBuffer(1)), "DataView"],
      [new Uint16Array(1), "Uint16Array"],
      [new SharedArrayBuffer(1), "SharedArrayBuffer"],
    ];
    for (const [input, said] of others) {
      assert.throws(
        () => openSource(input as ByteInput, "initrd"),
        (error) => {
          assert.ok(error instanceof TypeError);
          assert.match(error.message, new RegExp(`^initrd must be .*got ${said}$`));
          return true;
        },
      );
    }
  });

  it("a path that does not exist is SOURCE_NOT_FOUND", () => {
    assert.throws(() => openSource(join(folder, "no"), "kernel"), refusal("SOURCE_NOT_FOUND", "ENOENT"));
  });
});
