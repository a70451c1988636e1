/**
 * What Debian's amd64 kernel is told besides where it lies: a command line as long as it takes, several initrds, more
 * e820 entries than boot_params has room for, a seed. Its init reads all of it back in QEMU.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { loadLinux, planLinuxSync } from "../../src/index.js";
import { E820_RESERVED } from "../../src/loader.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { bootByCommand, bootLoaded, longCommandLine, X86_COMMAND_LINE } from "./support/boot-guest.js";
import { busybox, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";
import {
  busyboxInitramfs,
  initThatAlso,
  initValues,
  newcArchive,
  parseInitReport,
} from "./support/initramfs.js";

const MIB = 1 << 20;
const MEMORY = 256 * MIB;
/** cmdline_size in the setup header (boot.rst): the longest command line, without its NUL. */
const CMDLINE_SIZE_OFFSET = 0x238;
/** struct boot_params has room for so many e820 entries (asm/bootparam.h, E820_MAX_ENTRIES_ZEROPAGE). */
const ZERO_PAGE_ENTRIES = 128;
const PAGE = 0x1000n;
/** A processor without instructions for random numbers: what its kernel has of them, it was given. */
const CPU_WITHOUT_RANDOM = "max,-rdrand,-rdseed";

describe("Debian's amd64 kernel", () => {
  const folder = tempFolder();
  let bzImage = "";
  let vmlinux = "";
  let box = new Uint8Array();
  before(async () => {
    bzImage = (await debianKernel("amd64")).vmlinuz;
    vmlinux = await extractVmlinux(bzImage);
    box = readFileSync(await busybox("amd64"));
  });

  it("finds its whole command line of exactly as many bytes as it takes, and its files in two initrds, one of them gzipped", async () => {
    const longest = readFileSync(bzImage).readUInt32LE(CMDLINE_SIZE_OFFSET);
    assert.equal(longest, 2047);
    const commandLine = longCommandLine(X86_COMMAND_LINE, longest);
    const base = busyboxInitramfs({ busybox: box, init: initThatAlso('echo "second: $($b cat /second)"') });
    // The next archive has to start at a multiple of 4 bytes, and the first one does not end there.
    let packed = gzipSync(base);
    if (packed.length % 4 === 0) packed = Buffer.concat([packed, new Uint8Array(1)]);
    const first = join(folder, "first.cpio.gz");
    const second = join(folder, "second.cpio");
    writeFileSync(first, packed);
    writeFileSync(second, newcArchive([{ type: "file", name: "second", data: "from the second archive" }]));

    const { serial } = await bootByCommand([
      ...[bzImage, "--initrd", first, "--initrd", second, "--append", commandLine],
    ]);
    assert.equal(parseInitReport(serial)?.cmdline, commandLine);
    assert.deepEqual(initValues(serial, "second"), ["from the second archive"]);

    assert.throws(
      () => planLinuxSync({ kernel: bzImage, commandLine: `${commandLine}a`, memory: MEMORY }),
      refusal("COMMAND_LINE_TOO_LONG", "2048", "2047"),
    );
  });

  for (const [name, kernel, entry] of [
    ["a vmlinux by the 64-bit entry", () => vmlinux, "64"],
    ["a bzImage by the 32-bit entry", () => bzImage, "32"],
  ] as const) {
    it(`finds all of 303 e820 entries and its random seed in setup_data, as ${name}`, async () => {
      // Every third page from 128 MiB on.
      const reservations = Array.from({ length: 150 }, (_, index) => {
        const start = 0x800_0000n + BigInt(index) * 3n * PAGE;
        return { start, end: start + PAGE, type: E820_RESERVED };
      });
      const init = initThatAlso(
        "for entry in /sys/firmware/memmap/*; do",
        "  read start <$entry/start; read end <$entry/end; read type <$entry/type",
        '  echo "memmap: $start $end $type"',
        "done",
        "for node in /sys/kernel/boot_params/setup_data/*; do",
        "  read type <$node/type",
        '  echo "setup-data: $type"',
        "done",
        "$b dmesg | $b sed -n 's/^.*\\] \\(random: crng init\\|Memory:\\) .*$/early: \\1/p'",
      );
      const guest = await loadLinux({
        kernel: kernel(),
        entry,
        initrd: busyboxInitramfs({ busybox: box, init }),
        commandLine: X86_COMMAND_LINE,
        memory: MEMORY,
        reservations,
        rngSeed: Uint8Array.from({ length: 32 }, (_, index) => (index * 73 + 41) & 255),
      });
      const { serial } = await bootLoaded(guest, { cpu: CPU_WITHOUT_RANDOM });

      const expected = ["0x0 0xdffff System RAM", "0xe0000 0xe1fff ACPI Tables"];
      let next = 0xe_2000n;
      const add = (end: bigint, type: string): void => {
        expected.push(`0x${next.toString(16)} 0x${(end - 1n).toString(16)} ${type}`);
        next = end;
      };
      for (const { start, end } of reservations) {
        add(start, "System RAM");
        add(end, "Reserved");
      }
      add(BigInt(MEMORY), "System RAM");
      assert.ok(expected.length === 303 && expected.length > ZERO_PAGE_ENTRIES);
      const start = (line: string): number => Number(line.split(" ")[0]);
      const found = initValues(serial, "memmap").sort((a, b) => start(a) - start(b));
      assert.deepEqual(found, expected);
      // The first lines are boot_params' own, the rest came by setup_data.
      const fromZeroPage = parseInitReport(serial)?.dmesg.filter((line) => line.includes("BIOS-e820"));
      assert.equal(fromZeroPage?.length, ZERO_PAGE_ENTRIES);

      // asm/bootparam.h: SETUP_E820_EXT is 1, SETUP_RNG_SEED is 9.
      assert.deepEqual(initValues(serial, "setup-data"), ["0x1", "0x9"]);
      // The seed is read before memory is counted; nothing else on this processor fills the pool that early.
      assert.deepEqual(
        initValues(serial, "early"),
        ["random: crng init", "Memory:"],
        "the seed was not used",
      );
    });
  }
});
