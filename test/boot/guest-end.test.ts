/** How `boot` ends: a guest that crashes is told from one that is done, by QEMU's own word and the guest's. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { directboot } from "../support/command.js";
import { makeElf } from "../support/elf-maker.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();

/** mov dx, 0x3f8; mov al, 'x'; out dx, al */
const SAY_X = [0x66, 0xba, 0xf8, 0x03, 0xb0, 0x78, 0xee];
/** lidt [1 MiB], where there is nothing; ud2: no exception can be delivered, the processor shuts down. */
const TRIPLE_FAULT = [0x0f, 0x01, 0x1c, 0x25, 0x00, 0x00, 0x10, 0x00, 0x0f, 0x0b];

function kernelOf(name: string, code: readonly number[]): string {
  const path = join(folder, name);
  const fill = new Uint8Array(0x2000);
  fill.set(code, 0x1000);
  const segment = {
    offset: 0x1000n,
    paddr: 0x100_0000n,
    vaddr: 0x100_0000n,
    filesz: 0x1000n,
    memsz: 0x1000n,
  };
  writeFileSync(path, makeElf({ entry: 0x100_0000n, fill, segments: [segment] }));
  return path;
}

describe("boot ends with status 1 and names the reset", () => {
  for (const machine of ["microvm", "pc", "q35"]) {
    test(`when a kernel triple-faults at once on ${machine}`, async () => {
      const kernel = kernelOf("silent.elf", TRIPLE_FAULT);
      const { status, stderr } = await directboot(["boot", kernel, "--machine", machine, "--timeout", "60"]);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /GUEST_RESET: .*reset/);
    });
  }

  test("when a kernel has said something before it crashes; --json tells QEMU's reason", async () => {
    const kernel = kernelOf("talking.elf", [...SAY_X, ...TRIPLE_FAULT]);
    const { status, stdout, stderr } = await directboot(["boot", kernel, "--timeout", "60", "--json"]);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /GUEST_RESET/);
    const result: unknown = JSON.parse(stdout);
    assert.ok(typeof result === "object" && result !== null && "cause" in result && "serial" in result);
    assert.deepEqual([result.cause, result.serial], ["guest-reset", "x"]);
  });
});

describe("boot ends with status 0", () => {
  test("when the guest announces its restart, as Linux does", async () => {
    const { status, stdout, stderr } = await directboot(["boot", X86_64_GUEST, "--timeout", "60"]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /reboot: Restarting system/);
  });

  test("when the guest powers off", async () => {
    const { status, stdout, stderr } = await directboot(["boot", AARCH64_GUEST, "--timeout", "60", "--json"]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /"guest-shutdown"/);
  });
});
