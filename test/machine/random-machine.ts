/** Random x86 machines that are consistent: for what must hold for whatever is accepted. */
import fc from "fast-check";
import type { InterruptLine, PciRoot, X86Machine } from "../../src/machine/description.js";
import { swizzledRoutes } from "../../src/machine/preset-options.js";

const trigger = fc.constantFrom("edge" as const, "level" as const);
const polarity = fc.constantFrom("high" as const, "low" as const, undefined);
/** A line of the two I/O APICs below: GSI 0 to 71. */
const interrupt: fc.Arbitrary<InterruptLine> = fc.record({
  line: fc.integer({ min: 0, max: 71 }),
  trigger,
  polarity,
});
const text = fc.stringMatching(/^[\x20-\x7e]{1,64}$/);

const power: fc.Arbitrary<X86Machine["power"]> = fc.oneof(
  fc.record({
    type: fc.constant("pm1" as const),
    eventPort: fc.constant(0x600),
    controlPort: fc.constant(0x604),
    sci: fc.integer({ min: 3, max: 15 }),
    smi: fc.option(fc.record({ port: fc.constant(0xb2), enable: fc.nat(255), disable: fc.nat(255) }), {
      nil: undefined,
    }),
    gpe0: fc.option(fc.record({ port: fc.constant(0x620), length: fc.nat(10).map((half) => half * 2 + 2) }), {
      nil: undefined,
    }),
    s5: fc.nat(7),
    reset: fc.option(fc.constant({ space: "io", address: 0xcf9, value: 6 } as const), { nil: undefined }),
  }),
  fc.record({
    type: fc.constant("reduced" as const),
    sleepControl: fc.constantFrom(0xfea0_0200, 0x90_fea0_0200),
    sleepStatus: fc.constantFrom(0xfea0_0201, 0x90_fea0_0201),
    s5: fc.nat(7),
    events: fc.option(fc.record({ address: fc.constant(0xfea0_0000), interrupt }), { nil: undefined }),
    reset: fc.option(fc.constant({ space: "memory", address: 0xfea0_0202, value: 0x42 } as const), {
      nil: undefined,
    }),
  }),
);

/** Up to three roots, each with its own segment, configuration space, ports and memory. */
const pci = fc
  .array(
    fc.record({
      ports: fc.boolean(),
      ecam: fc.boolean(),
      firstBus: fc.nat(40),
      high: fc.boolean(),
      routes: fc.boolean(),
    }),
    { maxLength: 3 },
  )
  .map((roots) =>
    roots.map(({ ports, ecam, firstBus, high, routes }, index): PciRoot => {
      const hasPorts = index === 0 && ports;
      const low = 0xc000_0000 + index * 0x800_0000;
      const above = BigInt(index + 1) << 40n;
      return {
        segment: index,
        buses: { start: firstBus, end: firstBus + 8 },
        hasPorts,
        ecam: ecam || !hasPorts ? above + 0x10_0000_0000n : undefined,
        io: [{ start: index * 0x4000, end: (index + 1) * 0x4000 }],
        memory: [
          { start: low, end: low + 0x800_0000 },
          ...(high ? [{ start: above, end: above + 0x1000n }] : []),
        ],
        routes: routes ? swizzledRoutes([16, 17, 18, 19], { start: 1, end: 9 }) : [],
      };
    }),
  );

export const x86Machine: fc.Arbitrary<X86Machine> = fc
  .record({
    cpus: fc.oneof(
      fc.integer({ min: 1, max: 6 }),
      fc
        .uniqueArray(fc.oneof(fc.nat(254), fc.integer({ min: 255, max: 0xffff_fffe })), {
          minLength: 1,
          maxLength: 6,
        })
        .map((ids) => ids.map((id) => ({ id }))),
    ),
    overrides: fc.uniqueArray(
      fc.record({
        irq: fc.nat(15),
        gsi: fc.nat(71),
        trigger: fc.option(trigger, { nil: undefined }),
        polarity,
      }),
      { selector: ({ irq }) => irq, maxLength: 5 },
    ),
    pic: fc.boolean(),
    hpet: fc.boolean(),
    pmTimer: fc.boolean(),
    serial: fc.array(interrupt, { maxLength: 3 }),
    byAddress: fc.boolean(),
    rtc: fc.boolean(),
    i8042: fc.option(fc.record({ hasMouse: fc.boolean() }), { nil: undefined }),
    virtio: fc.array(interrupt, { maxLength: 6 }),
    identity: fc.option(
      fc.record({ manufacturer: text, product: text, serialNumber: text }, { requiredKeys: [] }),
      {
        nil: undefined,
      },
    ),
    power,
    pci,
  })
  .map(({ serial, byAddress, virtio, hpet, pmTimer, rtc, overrides, pic, identity, ...rest }) => ({
    architecture: "x86",
    ...rest,
    ...(identity === undefined ? {} : { identity }),
    ram: [
      { start: 0, end: 0x800_0000 },
      { start: 1n << 32n, end: 5n << 30n },
    ],
    interrupts: {
      ioApics: [
        { id: 0, address: 0xfec0_0000, gsiBase: 0 },
        { id: 7, address: 0xfec1_0000, gsiBase: 24, pins: 48 },
      ],
      overrides,
      pic,
    },
    timers: {
      pit: true,
      hpet: hpet ? { address: 0xfed0_0000 } : undefined,
      pmTimer: pmTimer ? 0x608 : undefined,
    },
    rtc: rtc ? { type: "cmos", irq: 8, century: 0x32 } : undefined,
    serial: serial.map((line, index) =>
      byAddress && index > 0
        ? { type: "16550", address: 0xfeb8_0000 + index * 0x1000, interrupt: line }
        : { type: "16550", port: 0x3f8 - index * 0x100, interrupt: line },
    ),
    virtioMmio: virtio.map((line, index) => {
      // The last ones lie above 4 GiB.
      const address = index > 3 ? (9n << 32n) + BigInt(index) * 0x200n : 0xfeb0_0000 + index * 0x200;
      return { address, size: 0x200, interrupt: line };
    }),
  }));
