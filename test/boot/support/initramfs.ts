/**
 * An initial RAM file system with nothing but busybox and an init that reports what the kernel found.
 *
 * The archive is written here because a device node needs neither root nor a `cpio` program that way. Format:
 * the kernel's Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
 */

interface EntryBase {
  /** Path without a leading slash; folders before their content. */
  readonly name: string;
  /** Permission bits alone, for example 0o755. */
  readonly mode?: number;
}

export interface DirectoryEntry extends EntryBase {
  readonly type: "directory";
}

export interface FileEntry extends EntryBase {
  readonly type: "file";
  readonly data: Uint8Array | string;
}

export interface CharacterDeviceEntry extends EntryBase {
  readonly type: "character-device";
  readonly major: number;
  readonly minor: number;
}

export type ArchiveEntry = DirectoryEntry | FileEntry | CharacterDeviceEntry;

/** Printed before anything else by `DEFAULT_INIT`. */
export const INIT_BEGIN = "DIRECTBOOT-INIT-BEGIN";
/** Printed when `DEFAULT_INIT` has reported everything. */
export const INIT_MARKER = "DIRECTBOOT-INIT-MARKER";

const FILE_TYPE = { directory: 0o040000, file: 0o100000, "character-device": 0o020000 } as const;
const DEFAULT_MODE = { directory: 0o755, file: 0o644, "character-device": 0o600 } as const;
const ARCHIVE_BLOCK = 512;

/**
 * Reports to the console, one fact a line, then ends the machine.
 *
 * printk is silenced first, because a kernel message would land in the middle of a line of ours. `stty` at the
 * end is there for its side effect: it waits until the serial port has sent all that was written (TCSADRAIN),
 * and a reset would otherwise cut off what still lies in the driver's buffer.
 */
export const DEFAULT_INIT = `#!/bin/busybox sh
b=/bin/busybox
exec </dev/console >/dev/console 2>&1
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
echo 1 >/proc/sys/kernel/printk
echo
echo ${INIT_BEGIN}
echo "cmdline: $($b cat /proc/cmdline)"
$b sed 's/^/iomem: /' /proc/iomem
$b dmesg | $b sed -n '/e820/s/^/dmesg: /p'
$b sed -n '/^MemTotal/s/^/meminfo: /p' /proc/meminfo
echo "uname: $($b uname -a)"
echo ${INIT_MARKER}
$b sync
$b stty sane
$b reboot -f
`;

/** `DEFAULT_INIT` with more lines of shell before its marker; `$b` is busybox. */
export function initThatAlso(...lines: readonly string[]): string {
  return DEFAULT_INIT.replace(`echo ${INIT_MARKER}\n`, `${[...lines, `echo ${INIT_MARKER}`].join("\n")}\n`);
}

/** A cpio archive in the "newc" format; the same entries give the same bytes. */
export function newcArchive(entries: readonly ArchiveEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  const append = (part: Uint8Array): void => {
    parts.push(part);
    length += part.length;
  };
  const pad = (boundary: number): void => {
    append(new Uint8Array((boundary - (length % boundary)) % boundary));
  };
  const member = (
    name: string,
    inode: number,
    links: number,
    mode: number,
    device: [number, number],
    data: Uint8Array,
  ) => {
    const nameBytes = Buffer.from(`${name}\0`);
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    const fields = [
      inode,
      mode,
      0,
      0,
      links,
      0,
      data.length,
      0,
      0,
      device[0],
      device[1],
      nameBytes.length,
      0,
    ];
    append(Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`));
    append(nameBytes);
    pad(4);
    append(data);
    pad(4);
  };
  entries.forEach((entry, index) => {
    if (entry.name === "" || entry.name.startsWith("/") || entry.name.includes("\0")) {
      throw new Error(`"${entry.name}" is not a path relative to the archive's root`);
    }
    const permissions = entry.mode ?? DEFAULT_MODE[entry.type];
    const device: [number, number] = entry.type === "character-device" ? [entry.major, entry.minor] : [0, 0];
    const data = entry.type === "file" ? Buffer.from(entry.data) : new Uint8Array();
    const links = entry.type === "directory" ? 2 : 1;
    // The inode is the number of the entry: files with the same one would be hard links to each other.
    member(entry.name, index + 1, links, FILE_TYPE[entry.type] | (permissions & 0o7777), device, data);
  });
  member("TRAILER!!!", 0, 1, 0, [0, 0], new Uint8Array());
  pad(ARCHIVE_BLOCK);
  const archive = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    archive.set(part, offset);
    offset += part.length;
  }
  return archive;
}

export interface BusyboxInitramfsOptions {
  /** Content of a statically linked busybox, see `busybox` in debian.ts for its path. */
  readonly busybox: Uint8Array;
  /** Text of /init; its first line must be `#!/bin/busybox sh`. Default: `DEFAULT_INIT`. */
  readonly init?: string;
  /** More entries, behind the others. */
  readonly extra?: readonly ArchiveEntry[];
}

/** An uncompressed initramfs whose /init is run by busybox. */
export function busyboxInitramfs({
  busybox,
  init = DEFAULT_INIT,
  extra = [],
}: BusyboxInitramfsOptions): Uint8Array {
  return newcArchive([
    { type: "directory", name: "bin" },
    { type: "directory", name: "dev" },
    { type: "directory", name: "proc" },
    { type: "directory", name: "sys" },
    // The kernel opens it for init's standard streams before anything has mounted devtmpfs.
    { type: "character-device", name: "dev/console", mode: 0o600, major: 5, minor: 1 },
    { type: "file", name: "bin/busybox", mode: 0o755, data: busybox },
    { type: "file", name: "init", mode: 0o755, data: init },
    ...extra,
  ]);
}

/** Values of the lines `name: value` that an init printed between its first line and its marker. */
export function initValues(serial: string, name: string): string[] {
  const lines = serial.split("\n").map((line) => line.replace(/\r+$/, ""));
  const report = lines.slice(lines.indexOf(INIT_BEGIN) + 1, lines.indexOf(INIT_MARKER));
  return report.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
}

/** The output of `DEFAULT_INIT`, taken out of a serial console's text. */
export interface InitReport {
  readonly cmdline: string | undefined;
  /** Lines of /proc/iomem with their indentation. */
  readonly iomem: readonly string[];
  /** Kernel messages about e820, with their time stamps. */
  readonly dmesg: readonly string[];
  /** The MemTotal line. */
  readonly meminfo: string | undefined;
  readonly uname: string | undefined;
  /** Whether the marker was reached. */
  readonly complete: boolean;
}

/** Reads the report; `undefined` if init did not even begin. */
export function parseInitReport(serial: string): InitReport | undefined {
  const lines = serial.split("\n").map((line) => line.replace(/\r+$/, "")); // the console sends CR LF
  const begin = lines.indexOf(INIT_BEGIN);
  if (begin < 0) return undefined;
  const end = lines.indexOf(INIT_MARKER, begin);
  const report = lines.slice(begin + 1, end < 0 ? lines.length : end);
  const all = (prefix: string): string[] =>
    report.filter((line) => line.startsWith(prefix)).map((line) => line.slice(prefix.length));
  return {
    cmdline: all("cmdline: ")[0],
    iomem: all("iomem: "),
    dmesg: all("dmesg: "),
    meminfo: all("meminfo: ")[0],
    uname: all("uname: ")[0],
    complete: end >= 0,
  };
}
