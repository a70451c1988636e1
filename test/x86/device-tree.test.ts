/** A device tree for an x86 kernel: it goes by setup_data, as it is, if it is one. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planLinuxSync } from "../../src/linux/load-linux-sync.js";
import { X86_64_GUEST } from "../support/paths.js";
import { refusal } from "../support/refusal.js";

const MIB = 1 << 20;

describe("an x86 kernel's device tree", () => {
  it("is refused if it is none", () => {
    const deviceTree = new TextEncoder().encode(
      "This is a text of more bytes than a device tree's header has.",
    );
    assert.throws(
      () => planLinuxSync({ kernel: X86_64_GUEST, memory: 64 * MIB, deviceTree }),
      refusal("DEVICE_TREE_MALFORMED"),
    );
  });
});
