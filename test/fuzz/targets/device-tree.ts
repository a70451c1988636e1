/** Device trees: reading, checking, and what the loader writes into /chosen. */
import type { DeviceTreeNode, MemoryNodeRange } from "../../../src/firmware/device-tree.js";
import { driversOf, pickDrivers, runDrivers } from "../drivers.js";
import { bytesOf, type FuzzInput, type Value } from "../input.js";
import { edge, mutate } from "../mutate.js";
import { describe, expect, type Outcome, observe } from "../outcome.js";
import type { Random } from "../random.js";
import { deviceTreeSeeds, flatten, oddTrees } from "../seed-files.js";
import type { Subject } from "../subject.js";
import type { Target } from "../target.js";
import { lazy, then } from "./shared.js";

/** What is set in /chosen; some of it is wrong. */
function makeChosen(random: Random): FuzzInput {
  const chosen: Record<string, Value> = {};
  if (random.oneIn(2)) {
    chosen["bootargs"] = random.pick(["", "quiet", "a\0b", "é".repeat(20), new Uint8Array(5).fill(65), 7]);
  }
  if (random.oneIn(2)) {
    const start = edge(random, 8);
    chosen["initrdStart"] = random.pick([start, 0x4400_0000, null, -1n]);
    chosen["initrdEnd"] = random.pick([start + 4096n, start, 0x4500_0000, 1n << 64n, null, undefined]);
  }
  if (random.oneIn(3))
    chosen["rngSeed"] = random.pick([random.bytes(random.below(40)), "seed", new Uint8Array(0)]);
  if (random.oneIn(3)) chosen["padding"] = random.pick([0, 64, 4096, -1, 2 ** 24, 2 ** 53, 1.5]);
  return chosen;
}

/** A tree whose last property passes the end of the structure. */
function cutTree(): Uint8Array {
  const tree = flatten({ name: "", properties: [["p", new Uint8Array(0)]], children: [] });
  // Behind the root's begin, its name and the property's token.
  new DataView(tree.buffer).setUint32(36, 16);
  return tree;
}

/** A tree of nothing but its end. */
function rootless(): Uint8Array {
  const tree = flatten({ name: "", properties: [], children: [] });
  const view = new DataView(tree.buffer);
  view.setUint32(view.getUint32(8), 9);
  return tree;
}

function countNodes(node: DeviceTreeNode): number {
  return node.children.reduce((sum, child) => sum + countNodes(child), 1);
}

export function deviceTreeTarget(subject: Subject): Target {
  const seeds = lazy(deviceTreeSeeds);
  return {
    name: "device-tree",
    corpus: lazy(() =>
      [
        ...seeds(),
        { bytes: cutTree() },
        { bytes: rootless() },
        ...oddTrees().map((bytes) => ({ bytes })),
        { bytes: new Uint8Array((16 << 20) + 1) },
      ].map(({ bytes }) => ({
        file: bytes,
        chosen: { bootargs: "quiet", initrdStart: 1n, initrdEnd: 2n, rngSeed: new Uint8Array(3) },
        drivers: ["sync", "async", "stream", "open"],
        chunks: [100],
      })),
    ),
    executions: 1000,
    make: (random) => {
      const { bytes } = mutate(random, seeds());
      return { file: bytes, chosen: makeChosen(random), ...pickDrivers(random, bytes.byteLength) };
    },
    run: (input) => {
      const file = bytesOf(input, "file");
      const { chosen } = input;
      const before = file.slice();
      return then(
        runDrivers(
          subject.openDriver,
          file,
          driversOf(input),
          subject.readTree,
          (_, open) => open.code !== "ok",
        ),
        (): Outcome => {
          const checked = observe(() => subject.checkDeviceTree(file));
          const read = observe(() => subject.readDeviceTree(file));
          expect(
            checked.code === read.code,
            `checkDeviceTree says ${checked.code}, readDeviceTree ${read.code}`,
          );
          const memory = observe(() => subject.memoryOfTree(file));
          expect(checked.code === "ok" || memory.code === checked.code, "memory was read of a bad tree");
          if (memory.code === "ok") checkMemory(memory.value as readonly MemoryNodeRange[]);
          const reserved = observe(() => subject.reservationsOfTree(file));
          expect(
            checked.code === "ok" || reserved.code === checked.code,
            "reservations were read of a bad tree",
          );
          if (reserved.code === "ok") checkMemory(reserved.value as readonly MemoryNodeRange[]);
          const set = observe(() => subject.setChosen(file, chosen as Parameters<Subject["setChosen"]>[1]), {
            typeErrors: true,
          });
          expect(Buffer.compare(before, file) === 0, "the tree was modified");
          if (set.code === "ok") {
            expect(checked.code === "ok", "/chosen was set in a bad tree");
            checkSet(
              subject,
              read.value as DeviceTreeNode,
              set.value as Uint8Array,
              chosen as FuzzInput,
              memory.detail,
            );
          }
          return {
            kind: `${checked.code} ${memory.code} ${set.code}`,
            isIdentified: file.byteLength >= 40 && before[0] === 0xd0 && before[3] === 0xed,
          };
        },
      );
    },
  };
}

function checkMemory(ranges: readonly MemoryNodeRange[]): void {
  for (const { start, end } of ranges) {
    expect(start < end && end <= 1n << 64n && start >= 0n, `memory ${start}-${end}`);
  }
}

/** The new tree is a tree, with what was set and all that there was. */
function checkSet(
  subject: Subject,
  old: DeviceTreeNode,
  made: Uint8Array,
  chosen: FuzzInput,
  memory: string,
): void {
  const tree = subject.readDeviceTree(made);
  const isChosen = ({ name }: DeviceTreeNode): boolean => name === "chosen" || name.startsWith("chosen@");
  const node = tree.children.find(isChosen);
  const hadNode = old.children.some(isChosen);
  const { bootargs, rngSeed, initrdStart } = chosen;
  if (typeof bootargs === "string") {
    const value = node?.properties.get("bootargs");
    expect(
      value !== undefined && Buffer.from(value).toString("utf8") === `${bootargs}\0`,
      "bootargs are not set",
    );
  }
  if (rngSeed instanceof Uint8Array) {
    const value = node?.properties.get("rng-seed");
    expect(value !== undefined && Buffer.compare(value, rngSeed) === 0, "rng-seed is not set");
  }
  if (initrdStart === null) {
    expect(node?.properties.has("linux,initrd-start") !== true, "the initrd is still there");
  }
  const sum = countNodes(tree) - countNodes(old);
  expect(sum === (hadNode || node === undefined ? 0 : 1), `the tree has ${sum} more nodes`);
  expect(
    describe(subject.memoryOfTree === undefined ? "" : [...tree.properties]) ===
      describe([...old.properties]),
    "the root has other properties",
  );
  if (memory.startsWith("[")) expect(describe(subject.memoryOfTree(made)) === memory, "/memory is another");
}
