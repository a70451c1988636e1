import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import type { ResponseLike } from "../../src/sources/platform-shapes.js";
import { responseSource } from "../../src/sources/response.js";
import { hasKnownLength } from "../../src/sources/source.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";

const BYTES = noise(300_000);

describe("a Response as a source", () => {
  let base = "";
  const closed: Promise<void>[] = [];
  const server = createServer((request, response) => {
    closed.push(new Promise((resolve) => response.on("close", resolve)));
    if (request.url === "/gzip") {
      const packed = gzipSync(BYTES);
      response.writeHead(200, { "content-encoding": "gzip", "content-length": packed.length }).end(packed);
    } else if (request.url === "/short") {
      response.writeHead(200, { "content-length": BYTES.length });
      response.write(BYTES.subarray(0, 1000), () => response.destroy());
    } else if (request.url === "/hang") {
      response.writeHead(200, { "content-length": BYTES.length });
      response.write(BYTES.subarray(0, 1000));
    } else if (request.url === "/vmlinux") {
      response.writeHead(200, { "content-length": BYTES.length }).end(BYTES);
    } else {
      response.writeHead(404).end("no such file");
    }
  });
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  it("of a server is named by its URL, as long as content-length says, and has its bytes", async () => {
    const source = responseSource(await fetch(`${base}/vmlinux`), { name: "kernel" });
    assert.equal(source.name, `${base}/vmlinux`);
    assert.equal(source.byteLength, 300_000);
    const target = new Uint8Array(300_000);
    await source.read(target, 0);
    assert.ok(isSame(target, BYTES));
  });

  it("with a content-encoding has an unknown length, and the decoded bytes", async () => {
    const source = responseSource(await fetch(`${base}/gzip`));
    assert.ok(!hasKnownLength(source));
    assert.equal((await source.spoolWhole()).byteLength, 300_000);
  });

  it("that breaks off is SOURCE_READ or SOURCE_SHORT", async () => {
    const source = responseSource(await fetch(`${base}/short`));
    await assert.rejects(source.read(new Uint8Array(2000), 0), refusal("SOURCE_READ", "byte 1000"));
  });

  it("that hangs ends with the signal, and so does the connection", async () => {
    const source = responseSource(await fetch(`${base}/hang`));
    const connection = closed.at(-1);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    await assert.rejects(source.read(new Uint8Array(2000), 0, controller.signal), refusal("ABORTED"));
    await connection;
  });

  it("without success is SOURCE_READ, with its status, and its body is cancelled", async () => {
    const response = await fetch(`${base}/nothing`);
    assert.throws(() => responseSource(response), refusal("SOURCE_READ", `${base}/nothing`, "404 Not Found"));
    const { stream, isCancelled } = makeStream(BYTES);
    const failed = new Response(stream, { status: 500 });
    assert.throws(() => responseSource(failed, { name: "kernel" }), refusal("SOURCE_READ", "kernel", "500"));
    assert.ok(isCancelled());
  });

  it("without a body, or with one that is being read, is SOURCE_READ; with one that was read SOURCE_CONSUMED", async () => {
    assert.throws(() => responseSource(new Response(null)), refusal("SOURCE_READ", "no body"));
    const used = new Response(BYTES);
    await used.arrayBuffer();
    assert.throws(() => responseSource(used), refusal("SOURCE_CONSUMED", "read already"));
    const locked = new Response(BYTES);
    locked.body?.getReader();
    assert.throws(() => responseSource(locked), refusal("SOURCE_READ", "locked"));
  });

  it("takes content-length only where it is the body's", () => {
    const lengthOf = (headers: Record<string, string>, type = "basic"): number | undefined => {
      const plain = new Response(BYTES, { headers });
      const response: ResponseLike = {
        ok: true,
        status: 200,
        statusText: "",
        url: "",
        type,
        bodyUsed: false,
        headers: plain.headers,
        body: plain.body,
        arrayBuffer: () => plain.arrayBuffer(),
      };
      const source = responseSource(response);
      return hasKnownLength(source) ? source.byteLength : undefined;
    };
    assert.equal(lengthOf({ "content-length": "300000" }), 300_000);
    assert.equal(lengthOf({ "content-length": "5", "content-encoding": "gzip" }), undefined);
    assert.equal(lengthOf({ "content-length": "5", "content-encoding": "Identity" }), 5);
    // A page sees the length of a response of another origin, but not its content-encoding.
    assert.equal(lengthOf({ "content-length": "5" }, "cors"), undefined);
    for (const odd of ["-1", "1.5", "abc", "1e3", "99999999999999999999"]) {
      assert.equal(lengthOf({ "content-length": odd }), undefined);
    }
  });
});
