/**
 * arm64 register values of a direct boot, as OpenVMM builds them (`set_direct_boot_registers_arm64`). Layouts and names:
 * Arm Architecture Reference Manual (DDI 0487), part D, "AArch64 System Register Descriptions".
 */

/** Inner and outer write-back, write-allocate cacheable. */
const WRITE_BACK = 1n;
const INNER_SHAREABLE = 3n;
/** TG1: 4 KiB granule. */
const TG1_4KB = 2n;
/** IPS: 48 bits, 256 TiB. */
const IPS_48_BITS = 5n;

/** PSTATE (C5.2.19): EL1h, all exceptions masked, which booting.rst demands ("all forms of interrupts must be masked"). */
export const DIRECT_BOOT_CPSR =
  (1n << 0n) | // SP: SP_EL1
  (1n << 2n) | // EL: EL1
  (1n << 6n) | // F
  (1n << 7n) | // I
  (1n << 8n) | // A
  (1n << 9n); // D

/** SCTLR_EL1 (D19.2.130): MMU off (booting.rst), caches on, and the bits that are reserved as one on older cores. */
export const DIRECT_BOOT_SCTLR_EL1 =
  (1n << 2n) | // C: data accesses are cacheable
  (1n << 11n) | // EOS: exception exit is context synchronizing
  (1n << 12n) | // I: instruction accesses are cacheable
  (1n << 20n) | // TSCXT: EL0 access to SCXTNUM_EL0 traps
  (1n << 22n) | // EIS: exception entry is context synchronizing
  (1n << 23n) | // SPAN: PSTATE.PAN is left as it is on an exception
  (1n << 28n) | // nTLSMD: no trap of load/store multiple to device memory
  (1n << 29n); // LSMAOE: load/store multiple atomicity and ordering

/** TCR_EL1 (D19.2.139): no walks in either half; TG0 is 0, 4 KiB; TG1 is valid all the same, for erratum 822227. */
export const DIRECT_BOOT_TCR_EL1 =
  (0x11n << 0n) | // T0SZ
  (1n << 7n) | // EPD0: no walks through TTBR0_EL1, the lower half
  (WRITE_BACK << 8n) | // IRGN0
  (WRITE_BACK << 10n) | // ORGN0
  (INNER_SHAREABLE << 12n) | // SH0
  (1n << 23n) | // EPD1: no walks through TTBR1_EL1, the upper half
  (TG1_4KB << 30n) | // TG1
  (IPS_48_BITS << 32n); // IPS
