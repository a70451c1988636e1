import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DIRECT_BOOT_CPSR, DIRECT_BOOT_SCTLR_EL1, DIRECT_BOOT_TCR_EL1 } from "../../src/arm64/registers.js";

describe("the arm64 registers of a direct boot", () => {
  it("are those of SPEC §6", () => {
    assert.equal(DIRECT_BOOT_CPSR, 0x3c5n);
    assert.equal(DIRECT_BOOT_SCTLR_EL1, 0x30d0_1804n);
    assert.equal(DIRECT_BOOT_TCR_EL1, 0x5_8080_3591n);
  });

  it("mask all exceptions in EL1h, as booting.rst demands: PSTATE.DAIF set, M[3:0] 0b0101", () => {
    assert.equal((DIRECT_BOOT_CPSR >> 6n) & 0xfn, 0xfn);
    assert.equal(DIRECT_BOOT_CPSR & 0xfn, 5n);
  });

  it("leave the MMU off, as booting.rst demands: SCTLR_EL1.M clear", () => {
    assert.equal(DIRECT_BOOT_SCTLR_EL1 & 1n, 0n);
  });

  it("are little-endian: SCTLR_EL1.EE and E0E clear", () => {
    assert.equal(DIRECT_BOOT_SCTLR_EL1 & ((1n << 25n) | (1n << 24n)), 0n);
  });

  it("walk no tables: TCR_EL1.EPD0 and EPD1 set", () => {
    const both = (1n << 7n) | (1n << 23n);
    assert.equal(DIRECT_BOOT_TCR_EL1 & both, both);
  });
});
