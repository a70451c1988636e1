/** Guests that were given a machine's description find all of it: CPUs, I/O APIC, names, and how to switch off. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { loadLinux, machines } from "../../src/index.js";
import { bootLoaded, X86_COMMAND_LINE } from "./support/boot-guest.js";
import { busybox, type DebianArchitecture, debianKernel } from "./support/debian.js";
import { busyboxInitramfs, initThatAlso, initValues } from "./support/initramfs.js";

const MEMORY = 256 << 20;
const CPUS = ["-smp", "4"];

/**
 * Linux calibrates its clock by the timer of the PC, which a busy host emulates too unevenly; hardware-reduced ACPI leaves it
 * no other, and it hangs, with QEMU's own firmware as well. Told a frequency it need not.
 */
const TSC = "tsc_early_khz=2000000";

const INIT = initThatAlso(
  'echo "cpus: $($b cat /sys/devices/system/cpu/online)"',
  'echo "product: $($b cat /sys/class/dmi/id/product_name)"',
  "$b sed -n '/IO-APIC/s/^.* /interrupt: /p' /proc/interrupts",
  "$b dmesg | $b sed -n '/ACPI.*\\(rror\\|nvalid\\|BUG\\)/s/^/trouble: /p'",
);

async function initrd(architecture: DebianArchitecture, end: string): Promise<Uint8Array> {
  const init = INIT.replace("$b reboot -f", `$b ${end}`);
  return busyboxInitramfs({ busybox: readFileSync(await busybox(architecture)), init });
}

describe("a guest with a machine's description", () => {
  it("has 4 CPUs on microvm, virtio devices and names, and switches the machine off", async () => {
    const guest = await loadLinux({
      kernel: (await debianKernel("amd64")).vmlinuz,
      initrd: await initrd("amd64", "poweroff -f"),
      commandLine: `${X86_COMMAND_LINE} ${TSC}`,
      memory: MEMORY,
      machine: machines.qemuMicrovm({ cpus: 4 }),
    });
    // It ends by itself, or the boot fails.
    const { serial } = await bootLoaded(guest, { args: CPUS });
    assert.deepEqual(initValues(serial, "cpus"), ["0-3"]);
    assert.deepEqual(initValues(serial, "product"), ["microvm"]);
    assert.ok(initValues(serial, "interrupt").includes("ttyS0"), serial);
    assert.equal(serial.match(/iomem: feb\S+ : LNRO0005/g)?.length, 24);
    assert.deepEqual(initValues(serial, "trouble"), []);
  });

  it("has 4 CPUs on a pc by the MP table, with a 32-bit kernel that is told acpi=off", async () => {
    const guest = await loadLinux({
      kernel: (await debianKernel("i386")).vmlinuz,
      initrd: await initrd("i386", "reboot -f"),
      commandLine: `${X86_COMMAND_LINE} acpi=off`,
      memory: MEMORY,
      machine: machines.qemuPc({ cpus: 4, memory: MEMORY }),
    });
    const { serial } = await bootLoaded(guest, { machine: "pc", args: CPUS });
    assert.deepEqual(initValues(serial, "cpus"), ["0-3"]);
    assert.ok(initValues(serial, "interrupt").includes("ttyS0"), serial);
    assert.match(serial, /Intel MultiProcessor Specification v1\.4/);
  });
});
