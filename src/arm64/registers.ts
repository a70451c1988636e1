/**
 * arm64 register values of a direct boot, built from named bit fields as OpenVMM builds them
 * (`set_direct_boot_registers_arm64`). Layouts: Arm Architecture Reference Manual (DDI 0487), part D, "AArch64
 * System Register Descriptions"; names as in OpenVMM's aarch64defs.
 */

// Plain literals and calls marked pure: a bundle that starts no arm64 guest has nothing of this file.
/** A field of a register: its lowest bit, and its width if that is not one bit. */
type Field = readonly [shift: number, width?: number];
type Fields = Readonly<Record<string, Field>>;

/** Puts `values` into their fields. A value that does not fit is a mistake of ours, not of a caller. */
function encode<Name extends string>(
  fields: Readonly<Record<Name, Field>>,
  values: Readonly<Partial<Record<NoInfer<Name>, number>>>,
): bigint {
  let encoded = 0n;
  for (const name of Object.keys(fields) as Name[]) {
    const value = values[name] ?? 0;
    const [shift, width = 1] = fields[name];
    if (value >= 2 ** width) throw new TypeError(`${name} holds ${width} bits, got ${value}`);
    encoded |= BigInt(value) << BigInt(shift);
  }
  return encoded;
}

/** SPSR/CPSR for an exception taken from AArch64 (DDI 0487, C5.2.19). */
const CPSR = { sp: [0], el: [2, 2], f: [6], i: [7], a: [8], d: [9] } as const satisfies Fields;

/** SCTLR_EL1 (DDI 0487, D19.2.130). */
const SCTLR_EL1 = {
  /** MMU enable for EL1&0 stage 1 translation. */
  m: [0],
  /** Cacheability of data accesses. */
  c: [2],
  /** Exception exit is context synchronizing. */
  eos: [11],
  /** Cacheability of instruction accesses. */
  i: [12],
  /** Trap EL0 access to SCXTNUM_EL0. */
  tscxt: [20],
  /** Exception entry is context synchronizing. */
  eis: [22],
  /** Set Privileged Access Never: PSTATE.PAN is left as it is on an exception. */
  span: [23],
  /** No trap of load/store multiple to device memory. */
  nTlsmd: [28],
  /** Load/store multiple atomicity and ordering enable. */
  lsmaoe: [29],
} as const satisfies Fields;

/** TCR_EL1 (DDI 0487, D19.2.139). */
const TCR_EL1 = {
  t0sz: [0, 6],
  /** Disable walks through TTBR0_EL1 (the lower half). */
  epd0: [7],
  irgn0: [8, 2],
  orgn0: [10, 2],
  sh0: [12, 2],
  tg0: [14, 2],
  t1sz: [16, 6],
  /** Disable walks through TTBR1_EL1 (the upper half). */
  epd1: [23],
  irgn1: [24, 2],
  orgn1: [26, 2],
  sh1: [28, 2],
  tg1: [30, 2],
  ips: [32, 3],
} as const satisfies Fields;

const EL1 = 1;
/** Inner and outer write-back, write-allocate cacheable. */
const WRITE_BACK = 1;
const INNER_SHAREABLE = 3;
/** TG0: 4 KiB granule. */
const TG0_4KB = 0;
/** TG1: 4 KiB granule. */
const TG1_4KB = 2;
/** IPS: 48 bits, 256 TiB. */
const IPA_48_BITS_256_TB = 5;

/** EL1h, all exceptions masked: what booting.rst demands ("all forms of interrupts must be masked"). */
export const DIRECT_BOOT_CPSR = /* @__PURE__ */ encode(CPSR, { sp: 1, el: EL1, f: 1, i: 1, a: 1, d: 1 });

/** MMU off (booting.rst), caches on, and the bits that are reserved as one on older cores. */
export const DIRECT_BOOT_SCTLR_EL1 = /* @__PURE__ */ encode(SCTLR_EL1, {
  m: 0,
  c: 1,
  i: 1,
  eos: 1,
  tscxt: 1,
  eis: 1,
  span: 1,
  nTlsmd: 1,
  lsmaoe: 1,
});

/** No walks in either half; TG1 is valid all the same, for erratum 822227. */
export const DIRECT_BOOT_TCR_EL1 = /* @__PURE__ */ encode(TCR_EL1, {
  t0sz: 0x11,
  irgn0: WRITE_BACK,
  orgn0: WRITE_BACK,
  sh0: INNER_SHAREABLE,
  tg0: TG0_4KB,
  epd0: 1,
  epd1: 1,
  tg1: TG1_4KB,
  ips: IPA_48_BITS_256_TB,
});
