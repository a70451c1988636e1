import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { X86Register } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { noise } from "../support/sources.js";

describe("RecordingImporter", () => {
  it("writes down every call in order, with what was passed", () => {
    const importer = new RecordingImporter<X86Register>();
    importer.importPages(1n, 2, "kernel", "Exclusive", noise(5));
    importer.importVpRegister({ name: "rip", value: 7n });
    importer.importPages(9n, 1, "zeros", "Shared", new Uint8Array(0));
    assert.deepEqual(importer.calls, [
      { op: "pages", pageBase: 1n, pageCount: 2, tag: "kernel", acceptance: "Exclusive", data: noise(5) },
      { op: "register", register: { name: "rip", value: 7n } },
      {
        op: "pages",
        pageBase: 9n,
        pageCount: 1,
        tag: "zeros",
        acceptance: "Shared",
        data: new Uint8Array(0),
      },
    ]);
  });

  it("keeps a copy of the data: it is only valid during the call", () => {
    const importer = new RecordingImporter();
    const data = noise(5);
    importer.importPages(1n, 1, "kernel", "Exclusive", data);
    data.fill(0);
    const [call] = importer.calls;
    assert.ok(call?.op === "pages");
    assert.deepEqual(call.data, noise(5));
  });

  it("accepts all: overlaps, too much data, registers set twice", () => {
    const importer = new RecordingImporter<X86Register>();
    for (let i = 0; i < 2; i++) {
      importer.importPages(1n, 0, "a", "Exclusive", noise(5000));
      importer.importVpRegister({ name: "rip", value: 7n });
    }
    assert.equal(importer.calls.length, 4);
  });
});
