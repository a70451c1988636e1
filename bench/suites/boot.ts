/**
 * From nothing to a guest's userspace, end to end: emulators boot Debian's kernels by their own loaders and by ours. Each
 * boot is a new process; what is timed includes reading the files, decompressing and loading.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { extractKernel } from "../../src/index.js";
import { busybox, type DebianArchitecture, debianKernel } from "../../test/boot/support/debian.js";
import { busyboxInitramfs, INIT_MARKER } from "../../test/boot/support/initramfs.js";
import { packageUrl, writeScript } from "../children.js";
import { type Row, rowsOf, type Suite } from "../harness.js";

const ROUNDS = 3;
/** Far more than a boot takes on a busy machine. */
const TIMEOUT_MILLISECONDS = 120_000;
const MEGABYTES = 256;
/** Not microvm: with QEMU's own ACPI tables for it, the kernel has nothing but the busy host to calibrate its TSC by. */
const QEMU_MACHINE = "pc";
// Ends the machine when it panics or is done, in QEMU and in v86; the kernel's log shows on the serial port, from its
// first line on and not only once the port's driver is there.
const COMMAND_LINE = "console=ttyS0 earlyprintk=serial,ttyS0,115200 reboot=t panic=-1";
/** In the kernel's first line. */
const FIRST_LINE = "Linux version";
/** The first thing that userspace does. */
const INIT = `#!/bin/busybox sh
exec </dev/console >/dev/console 2>&1
echo ${INIT_MARKER}
/bin/busybox stty sane
/bin/busybox reboot -f
`;
// This file lies in build/bench/suites/.
const CLI = fileURLToPath(new URL("../../../dist/cli.js", import.meta.url));
const V86_BUILD = new URL("../../../node_modules/v86/build/", import.meta.url);
/** Debian's package seabios; qemu-system-x86 depends on it. */
const SEABIOS = "/usr/share/seabios/bios.bin";
const VGABIOS = "/usr/share/seabios/vgabios-stdvga.bin";

/** One way to boot: nanoseconds to each mark that is asked for. */
interface Boot {
  readonly name: string;
  readonly run: () => Promise<number[]>;
}

/** Times that one boot gives, each a case of the table. */
interface Scenario {
  readonly marks: readonly string[];
  readonly boots: readonly Boot[];
}

/** The files of a guest. */
interface Guest {
  readonly kernel: string;
  /** The ELF in the kernel. */
  readonly vmlinux: string;
  readonly initrd: string;
}

let running: ChildProcess | undefined;

/**
 * Runs a program to its end, and hands it each line of its output with the nanoseconds since its start. SIGTERM on
 * time-out: `directboot boot` then ends its QEMU and removes its files.
 */
async function runToEnd(
  program: string,
  args: readonly string[],
  onLine: (line: string, ns: number) => void,
): Promise<void> {
  const start = process.hrtime.bigint();
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  running = child;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGTERM");
  }, TIMEOUT_MILLISECONDS);
  let rest = "";
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    const ns = Number(process.hrtime.bigint() - start);
    output += chunk;
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line, ns);
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors += chunk;
  });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    if (isLate || code !== 0) {
      const how = isLate ? `is not done after ${TIMEOUT_MILLISECONDS} ms` : `ended with ${code}`;
      throw new Error(`${program} ${args.join(" ")} ${how}:\n${output.slice(-2000)}\n${errors.slice(-2000)}`);
    }
  } finally {
    clearTimeout(timer);
    running = undefined;
  }
}

/** Nanoseconds from the start of a program to the init's marker in its output. */
async function untilMarker(program: string, args: readonly string[]): Promise<number[]> {
  let reached: number | undefined;
  await runToEnd(program, args, (line, ns) => {
    if (line.startsWith(INIT_MARKER)) reached ??= ns;
  });
  if (reached === undefined) throw new Error(`${program} ${args.join(" ")}: userspace was not reached`);
  return [reached];
}

/** The common part of both ways to boot v86: a script that tells the milliseconds to the first line and to the marker. */
function v86Script(make: string): string {
  const url = (name: string): string => JSON.stringify(new URL(name, V86_BUILD).href);
  const path = JSON.stringify(fileURLToPath(new URL("v86.wasm", V86_BUILD)));
  return `import { V86 } from ${url("libv86.mjs")};
const start = performance.now();
const machine = { wasm_path: ${path}, memory_size: ${MEGABYTES << 20} };
const watch = (emulator) => {
  let line = "";
  let isFirst = true;
  emulator.add_listener("serial0-output-byte", (byte) => {
    if (byte !== 10) {
      line += String.fromCharCode(byte);
      return;
    }
    if (isFirst && line.includes(${JSON.stringify(FIRST_LINE)})) {
      isFirst = false;
      console.log(performance.now() - start);
    }
    if (line.startsWith(${JSON.stringify(INIT_MARKER)})) {
      console.log(performance.now() - start);
      process.exit(0);
    }
    line = "";
  });
};
${make}`;
}

function v86Boot(name: string, script: string): Boot {
  const run = async (): Promise<number[]> => {
    const times: number[] = [];
    await runToEnd(process.execPath, [script], (line) => void times.push(Number(line) * 1e6));
    if (times.length !== 2 || times.some(Number.isNaN)) throw new Error(`${name} did not tell its times`);
    return times;
  };
  return { name, run };
}

const HOST = "directboot, decompressed by the host";
const GUEST = "directboot, decompressed by the guest";
const V86_OWN = "v86's bzimage, SeaBIOS";
const QEMU_OWN = "QEMU's -kernel";
/** As a host does that boots one kernel often. */
const EXTRACTED = "directboot, vmlinux extracted before";
const WAYS = [
  { name: HOST, file: "kernel", decompress: "host" },
  { name: GUEST, file: "kernel", decompress: "guest" },
  { name: EXTRACTED, file: "vmlinux", decompress: "host" },
] as const;

function v86Scenario(folder: string, guest: Guest, notes: string[]): Scenario {
  const [kernelPath, initrdPath, commandLine] = [guest.kernel, guest.initrd, COMMAND_LINE].map((text) =>
    JSON.stringify(text),
  );
  const adapter = JSON.stringify(packageUrl("/v86"));
  const boots = WAYS.map(({ name, file, decompress }): Boot => {
    const text = `const emulator = new V86({ ...machine, autostart: false });
watch(emulator);
const { bootV86 } = await import(${adapter});
await bootV86(emulator, {
  kernel: ${JSON.stringify(guest[file])},
  initrd: ${initrdPath},
  commandLine: ${commandLine},
  decompress: "${decompress}",
});
`;
    return v86Boot(name, writeScript(folder, `v86-${file}-${decompress}.mjs`, v86Script(text)));
  });
  if (existsSync(SEABIOS) && existsSync(VGABIOS)) {
    const text = `watch(new V86({
  ...machine,
  autostart: true,
  bios: { url: ${JSON.stringify(SEABIOS)} },
  vga_bios: { url: ${JSON.stringify(VGABIOS)} },
  bzimage: { url: ${kernelPath} },
  initrd: { url: ${initrdPath} },
  cmdline: ${commandLine},
}));
`;
    boots.push(v86Boot(V86_OWN, writeScript(folder, "v86-own.mjs", v86Script(text))));
  } else {
    notes.push(`${V86_OWN}: ${SEABIOS} is missing (apt-get install seabios)`);
  }
  return { marks: ["v86, first kernel line", "v86, userspace"], boots };
}

function qemuScenario(guest: Guest): Scenario {
  const { kernel, initrd } = guest;
  const boots = WAYS.map(({ name, file, decompress }): Boot => {
    const args = [
      ...[CLI, "boot", guest[file], "--initrd", initrd, "--append", COMMAND_LINE],
      ...["--memory", `${MEGABYTES}M`, "--decompress", decompress],
      ...["--machine", QEMU_MACHINE],
    ];
    return { name, run: () => untilMarker(process.execPath, args) };
  });
  // The machine that `directboot boot` makes.
  const machine = [
    ...["-M", QEMU_MACHINE, "-accel", "tcg", "-cpu", "max", "-m", `${MEGABYTES}M`, "-smp", "1"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"],
  ];
  const args = [...machine, "-kernel", kernel, "-initrd", initrd, "-append", COMMAND_LINE];
  boots.push({ name: QEMU_OWN, run: () => untilMarker("qemu-system-x86_64", args) });
  return { marks: ["QEMU, userspace"], boots };
}

/** Boots each way once a round, in turn, each round beginning with another one. */
async function measure({ marks, boots }: Scenario, rounds: number): Promise<Row[]> {
  const samples = boots.map(({ name }) => ({ name, times: [] as number[][] }));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < boots.length; turn++) {
      const index = (round + turn) % boots.length;
      samples[index]?.times.push((await boots[index]?.run()) ?? []);
    }
  }
  return marks.flatMap((mark, at) =>
    rowsOf(
      mark,
      0,
      samples.map(({ name, times }) => ({ name, samples: times.map((all) => all[at] ?? Number.NaN) })),
    ),
  );
}

async function guest(folder: string, architecture: DebianArchitecture): Promise<Guest> {
  const { vmlinuz } = await debianKernel(architecture);
  const initrd = join(folder, `initrd-${architecture}.img`);
  writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox(architecture)), init: INIT }));
  // Into the page cache: the first boot is not to pay for the others.
  readFileSync(vmlinuz);
  const vmlinux = join(folder, `vmlinux-${architecture}`);
  writeFileSync(vmlinux, (await extractKernel(vmlinuz)).kernel);
  return { kernel: vmlinuz, vmlinux, initrd };
}

export function bootSuite(): Suite {
  return {
    name: "boot",
    about: `Debian's kernels and a busybox initramfs, to userspace: i386 in v86, amd64 in QEMU (TCG, ${QEMU_MACHINE}); ${MEGABYTES} MiB`,
    ours: WAYS.map(({ name }) => name),
    notes: [],
    async measure({ quick }) {
      const folder = mkdtempSync(join(tmpdir(), "directboot-bench-"));
      const end = (): void => void running?.kill("SIGTERM");
      process.once("exit", end);
      try {
        this.notes.length = 0;
        const scenarios = [
          v86Scenario(folder, await guest(folder, "i386"), this.notes),
          qemuScenario(await guest(folder, "amd64")),
        ];
        const rows: Row[] = [];
        for (const scenario of scenarios) rows.push(...(await measure(scenario, quick ? 1 : ROUNDS)));
        return rows;
      } finally {
        process.off("exit", end);
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}
