/** Options of a wrong type: a TypeError that names the option, before anything is opened or written. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import {
  applyPlan,
  applyPlanSync,
  GuestMemory,
  LinuxGuest,
  LinuxPlan,
  loadLinux,
  loadLinuxSync,
  planLinuxSync,
  RecordingImporter,
} from "../../src/index.js";
import {
  decodeE820,
  describeRegister,
  drawMemoryMap,
  inspectKernelSync,
  pageTableTree,
} from "../../src/inspect/index.js";
import { loadKernelAndInitrdArm64, loadKernelAndInitrdX64, loadX86 } from "../../src/loader.js";
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
    ["cmdline", "quiet", /^there is no option cmdline; did you mean commandLine\?$/],
    ["xyz", 1, /^there is no option xyz; there are memory, kernel, /],
    [
      "addresses",
      { zeropage: 0 },
      /^there is no option addresses.zeropage; did you mean addresses.zeroPage\?$/,
    ],
    ["addresses", { initrd: "0x1000" }, /^addresses.initrd must be a number or a bigint, got the string/],
    ["acpi", { rsdp: 5, tables: "t" }, /^acpi.rsdp must be a Uint8Array, .* got 5$/],
    ["acpi", { rsdp: "r" }, /^acpi.tables must be .* got undefined$/],
    ["acpi", "rsdp.bin", /^acpi must be an object, got the string/],
    ["initrd", ["a", null], /^initrd\[1\] must be a Uint8Array, .* got null$/],
    [
      "reservations",
      [{ start: 0, type: 2 }],
      /^reservations\[0\].end must be a number or a bigint, got undefined/,
    ],
    ["arm64", { pageSizes: ["4K"] }, /^arm64.pageSizes\[0\] must be one of .*"64KiB", got the string "4K"/],
    ["maxDecompressedSize", 1.5, /^maxDecompressedSize must be an integer or a bigint, got 1.5/],
    ["maxDecompressedSize", Number.NaN, /^maxDecompressedSize must be an integer or a bigint, got NaN/],
    ["maxDecompressedSize", "1", /^maxDecompressedSize must be a number or a bigint, got the string "1"/],
    ["mtrrs", "all", /^mtrrs must be "variable" or "fixed-only", got the string "all"/],
    ["entry", 64, /^entry must be one of "64", "32", "pvh", got 64/],
    ["commandLine", 5, /^commandLine must be a string or a Uint8Array, got 5/],
    ["crc32", "yes", /^crc32 must be true or false, got/],
    ["spoolLimit", -1, /^spoolLimit must be an integer from 0 to 2\^53 - 1, got -1/],
    ["deviceTree", null, /^deviceTree must be a Uint8Array, .* got null/],
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

describe("an argument of OpenVMM's functions that is missing or of a wrong type", () => {
  const kernel = inRoot("guests/x86_64.elf");
  const start = { kernel, kernelMinimumStartAddress: 0 };
  for (const [name, call, options, message] of [
    ["loadX86", loadX86, undefined, /^options must be an object, got undefined$/],
    [
      "loadX86",
      loadX86,
      { kernel },
      /^kernelMinimumStartAddress must be a number or a bigint, got undefined$/,
    ],
    [
      "loadX86",
      loadX86,
      { ...start, commandLine: {}, zeroPage: {} },
      /^acpi must be an object, got undefined$/,
    ],
    [
      "loadKernelAndInitrdX64",
      loadKernelAndInitrdX64,
      { ...start, kernel: 5 },
      /^kernel must be a Uint8Array, .* got 5$/,
    ],
    ["loadKernelAndInitrdArm64", loadKernelAndInitrdArm64, null, /^options must be an object, got null$/],
  ] as const) {
    it(`is named by its path: ${name}, ${message.source}`, () => {
      assert.throws(() => Reflect.apply(call, undefined, [new RecordingImporter(), options]), {
        name: "TypeError",
        message,
      });
    });
  }
});

describe("a result", () => {
  it("is a union on the architecture, also by instanceof", () => {
    const guest: unknown = loadLinuxSync({ kernel: inRoot("guests/x86_64.elf"), memory: 64 * MIB });
    assert.ok(guest instanceof LinuxGuest);
    if (guest.architecture === "aarch64") {
      const pc: bigint = guest.registers.pc;
      // @ts-expect-error: an arm64 processor has no rip
      assert.fail(`${pc} ${guest.registers.rip}`);
    }
    const rip: bigint = guest.registers.rip;
    // @ts-expect-error: an x86 processor has no pc
    assert.equal(guest.registers.pc, undefined);
    assert.equal(rip, guest.info.kernel.entrypoint);
    const plan = planLinuxSync({ kernel: inRoot("guests/x86_64.elf"), memory: 64 * MIB });
    assert.ok(plan instanceof LinuxPlan);
    assert.deepEqual(plan.registers, guest.registers);
  });
});

describe("what a plan is applied to, if it is neither guest memory nor an importer,", () => {
  const half = { importPages: () => assert.fail("nothing may be imported") };
  for (const [name, target] of [
    ["null", null],
    ["an object", {}],
    ["an importer without registers", half],
  ] as const) {
    it(`is refused before anything is imported: ${name}`, async () => {
      const plan = planLinuxSync({ kernel: inRoot("guests/x86_64.elf"), memory: 64 * MIB });
      const isIt = { name: "TypeError", message: /^target must be a GuestMemory or an importer, .*, got/ };
      assert.throws(() => Reflect.apply(applyPlanSync, undefined, [plan, target]), isIt);
      await assert.rejects(async () => await Reflect.apply(applyPlan, undefined, [plan, target]), isIt);
      plan.close();
    });
  }
});

describe("guest memory of another copy of directboot", () => {
  // These tests run on the compiled sources: the package as it is published is another copy. Imported by its address: its
  // types are not there yet when the tests are compiled.
  let published: typeof import("../../src/index.js");
  before(async () => {
    published = await import(import.meta.resolve("directboot"));
  });
  const kernel = inRoot("guests/x86_64.elf");
  const isIt = {
    name: "TypeError",
    message: /got a \w+ that is not of this copy of directboot: take all from one copy$/,
  };

  it("is refused as such", () => {
    const memory: unknown = published.GuestMemory.create(64 * MIB);
    assert.throws(() => callWith(loadLinuxSync, { kernel, memory }), isIt);
    const plan = planLinuxSync({ kernel, memory: 64 * MIB });
    assert.throws(() => Reflect.apply(applyPlanSync, undefined, [plan, memory]), isIt);
    plan.close();
  });

  it("is refused as such, and so is a layout", () => {
    const layout: unknown = new published.MemoryLayout(64 * MIB);
    assert.throws(() => callWith(loadLinuxSync, { kernel, memory: layout }), isIt);
    assert.throws(() => Reflect.apply(GuestMemory.create, undefined, [layout]), isIt);
  });
});

describe("an argument of a wrong type is a TypeError that says what is wanted", () => {
  for (const [name, call, args, message] of [
    [
      "GuestMemory.create",
      GuestMemory.create,
      [{}],
      /^layout must be a MemoryLayout or a number of bytes, got/,
    ],
    ["drawMemoryMap", drawMemoryMap, [{}], /^map must be an object with arrays ram and regions/],
    ["drawMemoryMap", drawMemoryMap, [undefined], /^map must be an object with arrays ram and regions/],
    ["describeRegister", describeRegister, ["rip"], /^register must be one of .* got the string "rip"/],
    ["describeRegister", describeRegister, [undefined], /^register must be one of .* got undefined/],
    ["pageTableTree", pageTableTree, [{}], /^registers must be an object of registers by name, got/],
    ["applyPlanSync", applyPlanSync, [{}, {}, { onProgress: 5 }], /^onProgress must be a function, got 5$/],
    ["applyPlanSync", applyPlanSync, [{}, {}, null], /^options must be an object, got null$/],
    ["inspectKernelSync", inspectKernelSync, ["k", { unpack: 1 }], /^unpack must be one of .* got 1$/],
    ["inspectKernelSync", inspectKernelSync, ["k", { decoder: 1 }], /; did you mean decoders\?$/],
    ["decodeE820", decodeE820, ["zero page"], /^the table's bytes must be a Uint8Array, got/],
  ] as const) {
    it(`${name}(${args.map((value) => JSON.stringify(value)).join()})`, () => {
      assert.throws(() => Reflect.apply(call, undefined, args), { name: "TypeError", message });
    });
  }
});
