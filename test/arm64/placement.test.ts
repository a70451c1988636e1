/** Placing arm64 guests: the laws of booting.rst that every plan keeps, over layouts of all sizes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  DirectBootError,
  type LinuxPlan,
  type LoadLinuxSyncOptions,
  planLinuxSync,
} from "../../src/index.js";
import { makeArm64Image } from "../linux/guest-reader.js";
import {
  checkApart,
  GIB,
  layouts,
  MIB,
  merged,
  PAGE,
  type Range,
  regionOf,
  sizesTo,
  unread,
} from "../placement/support.js";
import { machineTree } from "../support/device-tree-maker.js";

const MIB2 = 2n * MIB;
/** Bit 3, any placement, and 4 KiB pages. */
const ANYWHERE = 0b1010n;
const LOW = 0b0010n;

const wishes = fc.record({
  layout: fc.oneof(layouts(GIB), layouts(0n), layouts(0x8010_3000n)),
  imageSize: fc.oneof(
    { weight: 4, arbitrary: sizesTo(256n * MIB) },
    { weight: 1, arbitrary: fc.constant(0n) },
  ),
  odd: fc.bigInt({ min: 0n, max: 4095n }),
  textOffset: fc.oneof(
    fc.constantFrom(0n, 0x8_0000n),
    fc.bigInt({ min: 0n, max: 700n }).map((page) => page * PAGE),
  ),
  flags: fc.constantFrom(ANYWHERE, ANYWHERE, LOW),
  tree: fc.integer({ min: 8, max: 2_000_000 }),
  initrd: fc.option(sizesTo(64n * GIB), { nil: undefined }),
  initrdAddress: fc.option(sizesTo(64n * GIB), { nil: undefined, freq: 3 }),
  reserved: fc.array(
    fc.tuple(
      fc.oneof(sizesTo(8n * GIB), fc.constantFrom(GIB, GIB + MIB2)),
      sizesTo(64n * MIB),
      fc.bigInt({ min: 0n, max: 4095n }),
    ),
    { maxLength: 4 },
  ),
});

describe("any arm64 guest in any RAM", () => {
  it("has a plan that keeps booting.rst, or is refused for what is true", () => {
    const outcomes = new Map<string, number>();
    const count = (what: string): void => {
      outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
    };
    fc.assert(
      fc.property(
        wishes,
        ({ layout, imageSize: wanted, odd, textOffset, flags, tree, initrd, initrdAddress, reserved }) => {
          const imageSize = wanted === 0n ? 0n : wanted + odd;
          const ranges: Range[] = reserved.map(([at, size, shift]) => ({
            start: at + shift,
            end: at + shift + size,
          }));
          const kernel = makeArm64Image({ imageSize, textOffset, flags, byteLength: 4096 });
          const options: LoadLinuxSyncOptions = {
            kernel,
            memory: layout,
            arm64: { lowPlacement: true },
            deviceTree: machineTree(merged(layout), { reserved: ranges, byteLength: tree }),
            initrd: initrd === undefined ? undefined : unread(Number(initrd)),
            addresses: { initrd: initrd === undefined ? undefined : initrdAddress },
          };
          let plan: LinuxPlan;
          try {
            plan = planLinuxSync(options);
          } catch (error) {
            assert.ok(error instanceof DirectBootError, String(error));
            count(error.code);
            const isChosen = options.addresses?.initrd !== undefined;
            switch (error.code) {
              case "PLACEMENT_NO_ROOM": {
                assert.match(error.message, /0x[0-9a-f]+ bytes.*; RAM is 0x[0-9a-f]+-0x[0-9a-f]+/);
                if (isChosen) break;
                // A free range of that size in the first GiB of RAM has room for everything.
                const all = imageSize + 64n * MIB + MIB2 * 6n + textOffset + (initrd ?? 0n) + BigInt(tree);
                const first = merged(layout)[0];
                assert.ok(first !== undefined);
                const free = freeOf(first, ranges);
                const near = (first.start / GIB) * GIB + 32n * GIB;
                assert.ok(
                  !free.some(({ start, end }) => (end < near ? end : near) - start >= all),
                  error.message,
                );
                break;
              }
              case "GUEST_MEMORY_NOT_RAM":
              case "IMPORT_OVERLAP":
              case "ARM64_INITRD_OUT_OF_REACH":
                assert.ok(isChosen, error.message);
                assert.match(error.message, /0x[0-9a-f]+-0x[0-9a-f]+.*0x[0-9a-f]+-0x[0-9a-f]+/);
                break;
              default:
                assert.fail(error.message);
            }
            return;
          }
          count("a plan");
          // A reservation where the initrd starts is the initrd's own.
          const others = ranges.filter(({ start }) => start !== options.addresses?.initrd);
          checkApart(plan, layout, others);
          const { info } = plan;
          const isOld = imageSize === 0n;
          const offset = isOld ? 0x8_0000n : textOffset;
          assert.equal(info.kernel.gpa % MIB2, 0n);
          assert.equal(info.kernel.entrypoint, info.kernel.gpa + offset);
          const image = {
            start: info.kernel.entrypoint,
            end: info.kernel.entrypoint + (isOld ? 16n * MIB : imageSize),
          };
          const beside = plan.pages.filter(({ tag }) => tag !== "linux-kernel").map(({ range }) => range);
          assert.ok(
            beside.every(({ start, end }) => end <= image.start || image.end <= start),
            "in the kernel's memory",
          );
          const kernelRegion = regionOf(plan, "linux-kernel");
          assert.ok(kernelRegion !== undefined && kernelRegion.end - kernelRegion.start >= imageSize);
          if (info.dtb !== undefined) {
            const { start, end } = info.dtb;
            assert.equal(start % 8n, 0n);
            assert.ok(end - start <= MIB2);
            if (flags === LOW) {
              assert.equal(start / MIB2, (end - 1n) / MIB2, "the tree crosses a 2 MiB boundary");
              assert.ok(
                start >= info.kernel.gpa && end <= info.kernel.gpa + 512n * MIB,
                "the tree is too far",
              );
            }
          }
          if (info.initrd !== undefined) {
            const [start, end] = [info.initrd.gpa, info.initrd.gpa + info.initrd.size];
            const low = image.start < start ? image.start : start;
            const kernelEnd = image.start + imageSize;
            const high = kernelEnd > end ? kernelEnd : end;
            assert.ok(high <= (low / GIB) * GIB + 32n * GIB, "out of reach");
            if (flags === LOW) assert.ok(start >= info.kernel.gpa, "below a kernel that can't see it");
          }
        },
      ),
      { numRuns: 4000 },
    );
    for (const outcome of [
      "a plan",
      "PLACEMENT_NO_ROOM",
      "GUEST_MEMORY_NOT_RAM",
      "ARM64_INITRD_OUT_OF_REACH",
    ]) {
      assert.ok((outcomes.get(outcome) ?? 0) >= 20, JSON.stringify([...outcomes]));
    }
  });
});

/** The rest of `ram` without the pages of `taken`. */
function freeOf(ram: Range, taken: readonly Range[]): Range[] {
  let parts = [ram];
  for (const { start, end } of taken) {
    parts = parts.flatMap((part) =>
      end <= part.start || part.end <= start
        ? [part]
        : [
            { start: part.start, end: start - 4096n },
            { start: end + 4096n, end: part.end },
          ].filter((each) => each.start < each.end),
    );
  }
  return parts;
}
