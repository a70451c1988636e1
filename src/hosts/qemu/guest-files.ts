/** The files from which QEMU starts a loaded guest: its regions, and code that sets its registers and jumps. */
import { hex } from "../../base/address.js";
import { DirectBootError } from "../../base/errors.js";
import { regionViews } from "../../linux/guest-export.js";
import type { LinuxGuest } from "../../linux/loaded-linux.js";
import { buildArm64Stub } from "./arm64-stub.js";
import { qemuValue } from "./machines.js";
import { buildResetRom } from "./reset-rom.js";

/** A file for QEMU. */
export interface GuestFile {
  readonly name: string;
  /** Its bytes; they may be guest memory in place. */
  readonly pieces: readonly Uint8Array[];
  /** QEMU's arguments, once the file lies at `path`. */
  argumentsFor(path: string): string[];
}

/** The last page of RAM that no region has, for the boot stub; QEMU's own tree lies at the start of RAM. */
function freePage(guest: LinuxGuest): bigint {
  const taken = guest.regions.map(({ range }) => range).sort((a, b) => (a.end < b.end ? 1 : -1));
  for (const { range } of [...guest.layout.ram].reverse()) {
    let page = range.end - 4096n;
    for (const region of taken) {
      // Highest first: one that ends below the page leaves it free, as all others do.
      if (region.end > page && region.start < page + 4096n) page = region.start - 4096n;
    }
    if (page >= range.start) return page;
  }
  throw new DirectBootError("GUEST_MEMORY_NOT_RAM", "no page of RAM is free for the boot stub");
}

function loaded(name: string, pieces: readonly Uint8Array[], address: bigint): GuestFile {
  const argumentsFor = (path: string): string[] => [
    "-device",
    `loader,file=${qemuValue(path)},addr=${hex(address)},force-raw=on`,
  ];
  return { name, pieces, argumentsFor };
}

/** A file for each region with data, then the one that starts the processor. */
export function guestFiles(guest: LinuxGuest): GuestFile[] {
  const files = guest.regions
    .map((region, index) =>
      loaded(`region-${index}.bin`, [...regionViews(guest, region)], region.range.start),
    )
    // QEMU's RAM is zero at the start: a region without data needs no file.
    .filter(({ pieces }) => pieces.length > 0);
  if (guest.architecture !== "aarch64") {
    const rom = buildResetRom(guest.registers);
    return [...files, { name: "reset-rom.bin", pieces: [rom], argumentsFor: (path) => ["-bios", path] }];
  }
  const address = freePage(guest);
  const stub = loaded("stub.bin", [buildArm64Stub(guest.registers)], address);
  const start = ["-device", `loader,addr=${hex(address)},cpu-num=0`];
  return [...files, { ...stub, argumentsFor: (path) => [...stub.argumentsFor(path), ...start] }];
}
