/** Any RAM, any sizes, any choices: a plan in which all have their place, or an error that says who has none. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError, type LinuxPlan, MemoryLayout, planLinuxSync } from "../../src/index.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { noise } from "../support/sources.js";
import { ELF_KERNEL } from "./guest-reader.js";

const PAGE = 4096n;
const INITRD_ADDR_MAX = 0x1fff_fffn;

/** Pages from 0 to 36 MiB, most of them near something that matters. */
const aPage = fc.oneof(
  fc.bigInt({ min: 0n, max: 9216n }).map((page) => page * PAGE),
  fc.constantFrom(
    0n,
    0x1000n,
    0x2000n,
    0x3000n,
    0x4000n,
    0xa000n,
    0xa_0000n,
    0xe_0000n,
    0x10_0000n,
    0x100_0000n,
  ),
);
const aLayout = fc
  .array(fc.tuple(fc.nat(600), fc.integer({ min: 1, max: 4000 })), { minLength: 1, maxLength: 5 })
  .map((parts) => {
    let at = 0n;
    return new MemoryLayout(
      parts.map(([gap, pages], index) => {
        const start = at + (index === 0 && gap > 60 ? 0n : BigInt(gap)) * PAGE;
        at = start + BigInt(pages) * PAGE;
        return { start, end: at, vnode: index };
      }),
    );
  });
const names = [
  "kernel",
  "gdt",
  "zeroPage",
  "commandLine",
  "pageTables",
  "setupData",
  "rsdp",
  "acpiTables",
] as const;
const someAddresses = fc.dictionary(fc.constantFrom(...names), aPage, { maxKeys: 2 });
const someReservations = fc.array(
  fc
    .tuple(aPage, fc.bigInt({ min: 1n, max: 0x8000n }))
    .map(([at, length]) => ({ start: at + 5n, end: at + 5n + length, type: 2 })),
  { maxLength: 4 },
);

describe("the placement of an x86 guest", () => {
  it("is whole and legal, or an error that names who has no place, for any RAM and any choices", () => {
    let plans = 0;
    const relocatable = [0, 1].map((flag) =>
      makeBzImage({
        fields: [
          [0x234, 1, flag],
          [0x22c, 4, INITRD_ADDR_MAX],
          [0x236, 2, 1],
        ],
      }),
    );
    fc.assert(
      fc.property(
        fc.record({
          layout: aLayout,
          kernel: fc.constantFrom(ELF_KERNEL, ...relocatable),
          addresses: fc.oneof(
            { weight: 2, arbitrary: fc.constant({}) },
            { weight: 1, arbitrary: someAddresses },
          ),
          reservations: fc.oneof(fc.constant([]), someReservations),
          initrd: fc.option(fc.integer({ min: 1, max: 3 << 20 }), { nil: undefined }),
          initrdAddress: fc.option(aPage, { nil: undefined, freq: 4 }),
          entry: fc.constantFrom<"32" | undefined>("32", undefined),
          rngSeed: fc.option(fc.constant(noise(9000)), { nil: undefined }),
        }),
        ({ layout, initrd, initrdAddress, ...wish }) => {
          const rest = { ...wish, addresses: { ...wish.addresses, initrd: initrdAddress } };
          const isAutomatic =
            Object.keys(wish.addresses).length === 0 &&
            rest.reservations.length === 0 &&
            initrdAddress === undefined;
          let plan: LinuxPlan;
          try {
            const archive = initrd === undefined ? undefined : new Uint8Array(initrd);
            plan = planLinuxSync({ ...rest, memory: layout, initrd: archive, commandLine: "quiet" });
          } catch (error) {
            assert.ok(error instanceof DirectBootError, String(error));
            if (error.code === "IMPORT_OVERLAP") {
              assert.match(
                error.message,
                /at 0x[0-9a-f]+-0x[0-9a-f]+ overlaps .* at 0x[0-9a-f]+-0x[0-9a-f]+/,
              );
              assert.ok(!isAutomatic, error.message);
            }
            return;
          }
          plans++;
          const pages = plan.pages.map(({ range }) => range).sort((a, b) => (a.start < b.start ? -1 : 1));
          pages.forEach((range, index) => {
            const next = pages[index + 1];
            assert.ok(next === undefined || range.end <= next.start);
            assert.ok(layout.isRam(range));
            for (const { start, end } of rest.reservations)
              assert.ok(end <= range.start || range.end <= start);
          });
          const { info } = plan;
          if (info.initrd !== undefined && rest.kernel !== ELF_KERNEL) {
            assert.ok(info.initrd.gpa + info.initrd.size <= INITRD_ADDR_MAX + 1n);
            // 128 KiB of init_size from where it runs.
            const runs =
              info.kernel.gpa < 0x100_0000n ? 0x100_0000n : (info.kernel.gpa + 0x1f_ffffn) & ~0x1f_ffffn;
            assert.ok(info.initrd.gpa >= runs + 0x2_0000n || info.initrd.gpa + info.initrd.size <= runs);
          }
        },
      ),
      { numRuns: 3000 },
    );
    assert.ok(plans > 200, `${plans} plans`);
  });
});
