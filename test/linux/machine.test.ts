/** `machine`: its tables lie where kernels look for them, and the kernel is told. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadLinux, loadLinuxSync, type MachineDescription, machines } from "../../src/index.js";
import { decodeE820 } from "../../src/inspect/index.js";
import { disassemble } from "../support/iasl.js";
import { inRoot } from "../support/paths.js";
import { tablesIn } from "../support/qemu-tables.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";

const kernel = inRoot("guests/x86_64.elf");
const memory = 64 << 20;
const ascii = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

describe("machine", () => {
  it("puts ACPI, SMBIOS and the MP table where kernels search, and reserves them", async () => {
    const machine = machines.qemuQ35({ cpus: 4 });
    for (const guest of [
      loadLinuxSync({ kernel, memory, machine }),
      await loadLinux({ kernel, memory, machine }),
    ]) {
      // A walk from the RSDP to the tables, their sums checked.
      const tables = tablesIn(guest.memory.read(0, 0x10_0000));
      const expected = ["APIC", "DSDT", "FACP", "HPET", "MCFG", "RSD PTR ", "SPCR"];
      assert.deepEqual([...(tables?.keys() ?? [])].sort(), expected);
      const madt = disassemble(tempFolder(), "APIC", tables?.get("APIC") ?? new Uint8Array());
      assert.equal(madt.match(/\[Processor Local APIC\]/g)?.length, 4);
      const zeroPage = guest.memory.read(0x2000, 4096);
      assert.equal(new DataView(zeroPage.buffer, zeroPage.byteOffset).getBigUint64(0x70, true), 0xe_0000n);
      assert.equal(ascii(guest.memory.read(0xf_0000, 5)), "_SM3_");
      const legacy = ascii(guest.memory.read(0xf_0000, 0xf000));
      assert.equal(legacy.indexOf("_MP_") % 16, 0);
      const e820 = decodeE820(zeroPage).map(({ start, end, type }) => [start, end, type]);
      assert.deepEqual(e820, [
        [0n, 0xe_0000n, 1],
        [0xe_0000n, 0xe_2000n, 3],
        [0xe_2000n, 0xf_0000n, 1],
        [0xf_0000n, 0x10_0000n, 2],
        [0x10_0000n, BigInt(memory), 1],
        [0xb000_0000n, 0xc000_0000n, 2],
      ]);
    }
  });

  it("lets the caller's ACPI tables go in place of its own, and its ACPI tables go elsewhere", () => {
    const machine = machines.qemuPc();
    const acpi = { rsdp: Buffer.from("MY RSDP"), tables: Buffer.from("MY TABLES") };
    const mine = loadLinuxSync({ kernel, memory, machine, acpi });
    assert.equal(ascii(mine.memory.read(0xe_0000, 7)), "MY RSDP");
    assert.equal(ascii(mine.memory.read(0xf_0000, 5)), "_SM3_");
    const moved = loadLinuxSync({ kernel, memory, machine, addresses: { acpiTables: 0x20_0000 } });
    assert.ok(tablesIn(moved.memory.read(0, memory))?.has("APIC"));
    assert.equal(ascii(moved.memory.read(0x20_0000, 4)), "FACS");
  });

  it("leaves the MP table out where an APIC id is too large for it", () => {
    const machine: MachineDescription = { ...machines.qemuPc(), cpus: [{ id: 0 }, { id: 300 }] };
    const guest = loadLinuxSync({ kernel, memory, machine });
    assert.equal(ascii(guest.memory.read(0xf_0000, 0xf000)).indexOf("_MP_"), -1);
  });

  it("is checked before anything is opened, also against the RAM of this load", async () => {
    const machine: MachineDescription = { ...machines.qemuPc(), cpus: 0 };
    const missing = { kernel: "no-such-file", memory };
    assert.throws(() => loadLinuxSync({ ...missing, machine }), refusal("MACHINE_BAD_VALUE", "machine.cpus"));
    await assert.rejects(loadLinux({ ...missing, machine }), refusal("MACHINE_BAD_VALUE", "machine.cpus"));
    const window = {
      ...machines.qemuPc(),
      pci: [{ hasPorts: true, memory: [{ start: 0x300_0000, end: 0x500_0000 }] }],
    };
    assert.throws(
      () => loadLinuxSync({ kernel, memory, machine: window }),
      refusal("MACHINE_OVERLAP", "machine.pci[0].memory[0]", "machine.ram[0]"),
    );
    for (const wrong of [5, "pc", null]) {
      const act = () => Reflect.apply(loadLinuxSync, undefined, [{ ...missing, machine: wrong }]);
      assert.throws(act, { name: "TypeError", message: /^machine must be/ });
    }
  });

  it("refuses tables that do not fit, with the size that they need, and another architecture", () => {
    const many = machines.qemuQ35({ cpus: 2000 });
    assert.throws(
      () => loadLinuxSync({ kernel, memory, machine: many }),
      refusal("MACHINE_TABLES_TOO_LARGE", /need \d{5,} bytes/, "addresses.acpiTables"),
    );
    loadLinuxSync({ kernel, memory, machine: many, addresses: { acpiTables: 0x20_0000 } });
    const arm64 = machines.qemuVirtArm64();
    assert.throws(
      () => loadLinuxSync({ kernel, memory, machine: arm64 }),
      refusal("OPTION_NOT_FOR_ARCHITECTURE", "arm64"),
    );
    const image = inRoot("guests/aarch64.img");
    assert.throws(
      () => loadLinuxSync({ kernel: image, memory, machine: machines.qemuPc() }),
      refusal("OPTION_NOT_FOR_ARCHITECTURE", "machine"),
    );
  });
});
