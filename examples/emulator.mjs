// An emulator with its own WebAssembly.Memory: the kernel is loaded into it in place. And an emulator that hands out no
// memory at all, only a function that writes: it gets the same guest through an importer.
//
//     node emulator.mjs vmlinuz
import { detectKernelSync, loadLinuxSync } from "directboot";

const MIB = 1024 * 1024;
const [kernel] = process.argv.slice(2);
if (kernel === undefined) throw new Error("usage: node emulator.mjs KERNEL");

const { description, entries } = detectKernelSync(kernel);
console.log(`${kernel}: ${description}`);

// The emulator's memory: 1 MiB that its own code uses, then the guest's RAM.
const RAM = 128 * MIB;
const linear = new WebAssembly.Memory({ initial: (MIB + RAM) / 65536 });
const banks = [{ guestPhysicalAddress: 0, byteOffset: MIB, byteLength: RAM }];

const guest = loadLinuxSync({
  kernel,
  commandLine: "console=ttyS0",
  memory: { buffer: linear, banks },
});

// The emulated CPU's state at the start. Registers that are not in the list start as zero.
console.log(`start in ${guest.entryMode}`);
for (const { name, value } of guest.registerList) {
  const fields = typeof value === "bigint" ? { value } : value;
  const shown = Object.entries(fields).map(([field, number]) => `${field} 0x${number.toString(16)}`);
  console.log(`  ${name.padEnd(15)} ${shown.join(", ")}`);
}

// The zero page as the emulated CPU will read it, through the emulator's own view of its memory.
const zeroPage = new DataView(linear.buffer, MIB + Number(guest.registers.rsi), 4096);
const commandLineAt = zeroPage.getUint32(0x228, true);
const text = new Uint8Array(linear.buffer, MIB + commandLineAt, 4096);
console.log(
  `command line at 0x${commandLineAt.toString(16)}: ${Buffer.from(text.slice(0, text.indexOf(0)))}`,
);
for (let i = 0; i < zeroPage.getUint8(0x1e8); i++) {
  const at = 0x2d0 + i * 20;
  const start = zeroPage.getBigUint64(at, true);
  const end = start + zeroPage.getBigUint64(at + 8, true);
  console.log(`e820 0x${start.toString(16)}-0x${end.toString(16)} type ${zeroPage.getUint32(at + 16, true)}`);
}

// The second emulator can only be written to, as v86 with its write_memory(bytes, address). Its RAM is zero at first.
class OtherEmulator {
  #ram = new Uint8Array(RAM);
  registers = {};

  write_memory(bytes, address) {
    this.#ram.set(bytes, address);
  }

  read_memory(address, length) {
    return this.#ram.slice(address, address + length);
  }
}

const other = new OtherEmulator();
let calls = 0;
loadLinuxSync({
  kernel,
  commandLine: "console=ttyS0",
  memory: RAM,
  // A CPU without long mode wants "32", which every bzImage has.
  entry: entries.includes("32") ? "32" : entries[0],
  importer: {
    // Pages behind the data are zero: in memory that was used before, write those zeros, too. Copy what you keep.
    importPages(pageBase, _pageCount, _tag, _acceptance, data) {
      other.write_memory(data, Number(pageBase) * 4096);
      calls++;
    },
    importVpRegister({ name, value }) {
      other.registers[name] = value;
    },
  },
});
console.log(`through an importer: ${calls} writes, rip 0x${other.registers.rip.toString(16)}`);
const first = other.read_memory(Number(other.registers.rip), 8);
const expected = guest.memory.read(other.registers.rip, 8);
console.log(`the code there is ${Buffer.compare(first, expected) === 0 ? "the same" : "not the same"}`);
