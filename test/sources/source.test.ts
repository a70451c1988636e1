import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  checkSourceRange,
  isSource,
  isSyncSource,
  notBytes,
  type Source,
  toSyncSource,
} from "../../src/sources/source.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";

const read = async (): Promise<void> => {};
const readSync = (): void => {};

describe("sources", () => {
  it("are told by their shape: a byteLength and read", () => {
    assert.ok(isSource({ name: "a", byteLength: 0, read }));
    assert.ok(isSource({ byteLength: 5, read, readSync }));
    const others = [
      undefined,
      null,
      1,
      "path",
      new Uint8Array(1),
      { byteLength: 1 },
      { read },
      { byteLength: "1", read },
    ];
    for (const value of others) assert.ok(!isSource(value));
  });

  it("are synchronous if they have readSync", () => {
    const source: Source = { name: "a", byteLength: 0, read };
    assert.ok(!isSyncSource(source));
    assert.ok(isSyncSource({ ...source, readSync }));
    const synchronous = { ...source, readSync };
    assert.equal(toSyncSource(synchronous), synchronous);
  });

  it("that are not synchronous are refused by name where they must be", () => {
    const matches = refusal("SOURCE_NOT_SYNCHRONOUS", "vmlinux.blob");
    assert.throws(() => toSyncSource(asyncOnly(noise(1), "vmlinux.blob")), matches);
  });

  it("have the bytes from 0 to byteLength and no more", () => {
    const source = asyncOnly(noise(100), "vmlinux");
    checkSourceRange(source, 0, 100);
    checkSourceRange(source, 100, 0);
    for (const [offset, length] of [
      [0, 101],
      [100, 1],
      [101, 0],
      [2 ** 53, 1],
    ] as const) {
      const matches = refusal("SOURCE_SHORT", "vmlinux", `${offset}`, "100");
      assert.throws(() => checkSourceRange(source, offset, length), matches);
    }
  });

  it("what is no input is named, with what was given instead", () => {
    const { message } = notBytes(new Map(), "initrd");
    assert.match(message, /^initrd must be .* got Map$/);
  });
});
