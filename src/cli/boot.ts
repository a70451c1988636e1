/** `directboot boot`: the loaded guest in QEMU, from its pages and registers, without firmware. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { regionViews, writeAll } from "./export.js";
import { formatMilliseconds } from "./format.js";
import { formatLoaded, type LoadedGuest, linuxOptions, loadGuest } from "./load.js";
import { LOAD_OPTIONS, outputError, parseArguments, parseSeconds, UsageError } from "./options.js";
import { progressBar } from "./progress.js";
import { buildResetRom } from "./reset-rom.js";

const QEMU = "qemu-system-x86_64";
const QEMU_PACKAGE = "qemu-system-x86";
const MACHINES = ["microvm", "pc", "q35", "isapc"];
/** Signals by which a user or a supervisor ends the command; the guest ends with it. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Writes each region with data, and the ROM; returns QEMU's arguments for them. */
function writeImages(guest: LoadedGuest, folder: string): string[] {
  const total = guest.regions.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const bar = progressBar("writing");
  let done = 0;
  try {
    const devices: string[] = [];
    for (const [index, region] of guest.regions.entries()) {
      const views = [...regionViews(guest, region)];
      // QEMU's RAM is zero at the start: a region without data needs no file.
      if (views.length === 0) continue;
      const file = join(folder, `region-${index}.bin`);
      const descriptor = openSync(file, "wx", 0o600);
      try {
        for (const view of views) {
          writeAll(descriptor, view, (written) => {
            done += written;
            bar.update(done, total);
          });
        }
      } finally {
        closeSync(descriptor);
      }
      devices.push("-device", `loader,file=${qemuValue(file)},addr=${hex(region.range.start)},force-raw=on`);
    }
    const rom = join(folder, "reset-rom.bin");
    writeFileSync(rom, buildResetRom(guest.registers), { flag: "wx", mode: 0o600 });
    return ["-bios", rom, ...devices];
  } finally {
    bar.done();
  }
}

/** QEMU's option syntax: a comma in a value is doubled. */
function qemuValue(text: string): string {
  return text.replaceAll(",", ",,");
}

/** What became of a run. */
interface RunResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
  readonly serial: string;
  readonly milliseconds: number;
}

/** Runs QEMU; its serial output goes to `onSerial` as it comes. The child never outlives this process. */
async function run(
  program: string,
  args: readonly string[],
  seconds: number | undefined,
  onSerial: (bytes: Uint8Array) => void,
): Promise<RunResult> {
  const start = performance.now();
  let child: ChildProcess;
  let timedOut = false;
  let timer: NodeJS.Timeout | undefined;
  const kill = (): void => void child?.kill("SIGKILL");
  let interrupted: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    interrupted = signal;
    kill();
  };
  process.on("exit", kill);
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    const chunks: Uint8Array[] = [];
    const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
      (resolve, reject) => {
        child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"], shell: false });
        child.once("error", reject);
        child.once("close", (code, by) => resolve([code, by]));
        child.stdout?.on("data", (bytes: Uint8Array) => {
          chunks.push(bytes);
          onSerial(bytes);
        });
        if (seconds !== undefined) {
          timer = setTimeout(() => {
            timedOut = true;
            kill();
          }, seconds * 1000);
        }
      },
    );
    return {
      exitCode,
      signal: interrupted ?? signal,
      timedOut,
      serial: Buffer.concat(chunks).toString("utf8"),
      milliseconds: performance.now() - start,
    };
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      throw new DirectBootError("TOOL_MISSING", `${program} is not installed`, {
        cause,
        cure: `install the package ${QEMU_PACKAGE} (apt-get install ${QEMU_PACKAGE})`,
      });
    }
    throw new DirectBootError("TOOL_FAILED", `${program} could not be started`, { cause });
  } finally {
    clearTimeout(timer);
    process.removeListener("exit", kill);
    for (const signal of SIGNALS) process.removeListener(signal, onSignal);
  }
}

export async function bootCommand(argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, {
    ...LOAD_OPTIONS,
    machine: { type: "string" },
    cpu: { type: "string" },
    qemu: { type: "string" },
    timeout: { type: "string" },
  });
  const machine = args.text("machine") ?? "microvm";
  if (!MACHINES.includes(machine))
    throw new UsageError(`--machine ${machine}: give one of ${MACHINES.join(", ")}`);
  const timeout = args.text("timeout");
  const seconds = timeout === undefined ? undefined : parseSeconds(timeout, "timeout");
  const isJson = args.flag("json");

  const guest = loadGuest(linuxOptions(args));
  if (!isJson) process.stderr.write(`${formatLoaded(guest)}\n`);

  const folder = mkdtempSync(join(tmpdir(), "directboot-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  try {
    let images: string[];
    try {
      images = writeImages(guest, folder);
    } catch (cause) {
      throw cause instanceof DirectBootError ? cause : outputError(folder, cause);
    }
    const program = args.text("qemu") ?? QEMU;
    const megabytes = (guest.plan.layout.ramSize + (1n << 20n) - 1n) >> 20n;
    const qemuArgs = [
      ...[
        "-M",
        `${machine},accel=tcg`,
        "-cpu",
        args.text("cpu") ?? "max",
        "-m",
        `${megabytes}M`,
        "-smp",
        "1",
      ],
      ...["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"],
      ...images,
    ];
    if (!isJson) process.stderr.write(`starting ${program} (${machine})\n`);
    const result = await run(program, qemuArgs, seconds, (bytes) => {
      if (!isJson) process.stdout.write(bytes);
    });
    if (isJson) {
      const { planMilliseconds, loadMilliseconds, plan } = guest;
      const json = { info: plan.info, planMilliseconds, loadMilliseconds, machine, ...result };
      process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    } else {
      process.stderr.write(`the guest ran for ${formatMilliseconds(result.milliseconds)}\n`);
    }
    if (result.timedOut) {
      throw new DirectBootError("TOOL_FAILED", `the guest still ran after ${seconds} s and was ended`, {
        cure: "raise --timeout, or look at the guest's output",
      });
    }
    if (result.signal !== null) {
      throw new DirectBootError("TOOL_FAILED", `${program} was ended by ${result.signal}`);
    }
    if (result.exitCode !== 0) {
      throw new DirectBootError("TOOL_FAILED", `${program} ended with status ${result.exitCode}`);
    }
    return 0;
  } finally {
    remove();
    process.removeListener("exit", remove);
  }
}
