import * as decoders from "../../src/decoders/index.js";
import { applyPlanSync, GuestMemory, loadLinuxSync, planLinuxSync } from "../../src/index.js";
import { debianKernel } from "../../test/boot/support/debian.js";
import { measureCases, type Suite } from "../harness.js";

const RAM_BYTES = 128 << 20;
/** One round a guest. */
const GUESTS = 100;
const SAME = "applyPlanSync, equal command line";
const OWN = "plan.with and applyPlanSync, own command line and seed";

export function guestsSuite(): Suite {
  return {
    name: "guests",
    about: "100 guests of Debian amd64's vmlinuz, one after the other, each in new memory",
    ours: [SAME, OWN],
    notes: [],
    async measure({ quick }) {
      const { vmlinuz } = await debianKernel("amd64");
      const options = { kernel: vmlinuz, decoders, memory: RAM_BYTES };
      const plan = planLinuxSync(options);
      let memory = GuestMemory.create(RAM_BYTES);
      const before = (): void => {
        memory = GuestMemory.create(RAM_BYTES);
      };
      let count = 0;
      const text = (): { commandLine: string; rngSeed: Uint8Array } => ({
        commandLine: `console=ttyS0 hostname=guest-${count++}`,
        rngSeed: crypto.getRandomValues(new Uint8Array(32)),
      });
      try {
        return await measureCases(
          [
            {
              size: "1 guest",
              byteLength: 0,
              contenders: {
                [SAME]: { before, run: () => applyPlanSync(plan, memory) },
                [OWN]: { before, run: () => applyPlanSync(plan.with(text()), memory) },
                "loadLinuxSync, own command line and seed": {
                  before,
                  run: () => loadLinuxSync({ ...options, ...text(), memory }),
                },
              },
            },
          ],
          { rounds: quick ? 3 : GUESTS, milliseconds: 0, collects: true },
        );
      } finally {
        plan.close();
      }
    },
  };
}
