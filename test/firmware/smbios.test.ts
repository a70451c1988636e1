/** SMBIOS, as dmidecode reads it: it takes the same bytes as a dump of a machine's. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { buildSmbios } from "../../src/firmware/smbios.js";
import type { MachineDescription } from "../../src/machine/description.js";
import { machines } from "../../src/machine/machines.js";
import { x86Machine } from "../machine/random-machine.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();

/** dmidecode's text; its dumps have the entry point at 0, and the structures behind it. */
function dmidecode(machine: MachineDescription): string {
  const file = join(folder, "dmi.bin");
  writeFileSync(file, buildSmbios(machine, { address: 0 }));
  const text = runTool("dmidecode", "dmidecode", ["--from-dump", file]);
  assert.doesNotMatch(text, /invalid|wrong|broken|bad index|truncated|out of spec/i, text);
  assert.match(text, /SMBIOS 3\.3\.0 present/);
  assert.match(text, /DMI type 127, 4 bytes\nEnd Of Table/);
  return text;
}

/** The values of a field, in the order of the structures. */
function values(text: string, name: string): string[] {
  return [...text.matchAll(new RegExp(`^\\t${name}: (.*)$`, "gm"))].map(([, value = ""]) => value);
}

describe("SMBIOS", () => {
  it("names the machine, its CPUs and its RAM", () => {
    const text = dmidecode(
      machines.qemuPc({
        cpus: { sockets: 2, cores: 3, threads: 2 },
        memory: 5n << 30n,
        identity: {
          serialNumber: "S-1",
          uuid: "12345678-9abc-def0-1122-334455667788",
          version: "V2",
          sku: "K",
          family: "F",
          assetTag: "T",
          firmwareDate: "12/31/2025",
        },
      }),
    );
    assert.deepEqual(
      [...text.matchAll(/DMI type (\d+)/g)].map(([, type]) => Number(type)),
      [0, 1, 2, 3, 4, 4, 16, 17, 19, 19, 32, 127],
    );
    assert.deepEqual(values(text, "Product Name"), Array(2).fill("Standard PC (i440FX + PIIX, 1996)"));
    assert.deepEqual(values(text, "UUID"), ["12345678-9abc-def0-1122-334455667788"]);
    assert.deepEqual(values(text, "Release Date"), ["12/31/2025"]);
    assert.deepEqual(values(text, "Core Count"), ["3", "3"]);
    assert.deepEqual(values(text, "Thread Count"), ["6", "6"]);
    assert.deepEqual(values(text, "Maximum Capacity"), ["5 GB"]);
    assert.deepEqual(values(text, "Size"), ["5 GB"]);
    assert.deepEqual(values(text, "Ending Address"), ["0x000BFFFFFFF", "0x0017FFFFFFF"]);
    assert.deepEqual(values(text, "SKU Number"), ["K", "K"]);
    assert.deepEqual(values(text, "Asset Tag").slice(0, 2), ["T", "T"]);
    assert.match(text, /System is a virtual machine/);
  });

  it("states more RAM and more CPUs than the first fields hold", () => {
    const text = dmidecode({
      ...machines.qemuMicrovm({ cpus: 300 }),
      ram: [{ start: 1n << 43n, end: 1n << 44n }],
    });
    assert.deepEqual(values(text, "Maximum Capacity"), ["8 TB"]);
    assert.deepEqual(values(text, "Size"), ["8 TB"]);
    // In bytes (DSP0134, 7.20), whatever unit dmidecode 3.4 prints behind it.
    assert.match(values(text, "Starting Address")[0] ?? "", /^0x0000080000000000/);
    assert.deepEqual(values(text, "Core Count"), ["300"]);
  });

  it("leaves out RAM that is not described, for an arm64 machine, too", () => {
    const text = dmidecode(machines.qemuVirtArm64());
    assert.doesNotMatch(text, /DMI type 1[679]/);
    assert.deepEqual(values(text, "UUID"), ["Not Settable"]);
  });

  it("of random machines is read without a complaint", () => {
    fc.assert(
      fc.property(x86Machine, (machine) => {
        const text = dmidecode(machine);
        const { product = "Not Specified" } = machine.identity ?? {};
        assert.equal(values(text, "Product Name")[0]?.trim(), product.trim());
      }),
      { numRuns: 12 },
    );
  });

  it("is refused where no reader looks for it", () => {
    assert.throws(
      () => buildSmbios(machines.qemuPc(), { address: 0xf_0008 }),
      refusal("UNALIGNED_ADDRESS", "0xf0008"),
    );
  });
});
