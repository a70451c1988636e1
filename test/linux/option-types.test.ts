/** Options of a wrong type: a TypeError that names the option, before anything is opened or written. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadLinux, loadLinuxSync, planLinuxSync } from "../../src/index.js";
import { inRoot } from "../support/paths.js";

const MIB = 1024 * 1024;

/** A call as JavaScript makes it, with whatever it likes. */
function callWith(call: (options: never) => unknown, options: unknown): unknown {
  return Reflect.apply(call, undefined, [options]);
}

describe("an option of a wrong type", () => {
  const kernel = inRoot("guests/x86_64.elf");
  const half = { importPages: () => assert.fail("nothing may be imported") };
  for (const [name, value, message] of [
    ["onProgress", 5, /^onProgress must be a function, got/],
    ["reservations", {}, /^reservations must be an array, got/],
    ["rngSeed", "abc", /^rngSeed must be a Uint8Array, got/],
    ["decoders", {}, /^decoders must be the module directboot\/decoders, got/],
    ["signal", {}, /^signal must be an AbortSignal, got/],
    ["signal", new AbortController(), /^signal must be an AbortSignal, got/],
    ["importer", {}, /^importer must be an object with importPages and importVpRegister, got/],
    ["importer", half, /^importer must be an object with importPages and importVpRegister, got/],
  ] as const) {
    it(`is refused by name: ${name} as ${JSON.stringify(value)}`, async () => {
      const options = { kernel, memory: 64 * MIB, [name]: value };
      const isIt = (cause: unknown): boolean => cause instanceof TypeError && message.test(cause.message);
      assert.throws(() => callWith(loadLinuxSync, options), isIt);
      await assert.rejects(async () => await callWith(loadLinux, options), isIt);
      assert.throws(() => callWith(planLinuxSync, options), isIt);
    });
  }

  for (const options of [undefined, null, 5]) {
    it(`is refused if it is all of them: ${String(options)}`, () => {
      assert.throws(() => callWith(loadLinuxSync, options), {
        name: "TypeError",
        message: /^options must be an object, got/,
      });
    });
  }
});
