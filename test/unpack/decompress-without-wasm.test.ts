/** A payload that the host can't take out without WebAssembly is left to the guest, whatever its compression. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as decoders from "../../src/decoders/index.js";
import { planLinux } from "../../src/linux/load-linux.js";
import { planLinuxSync } from "../../src/linux/load-linux-sync.js";
import { ONE_OF_EACH } from "../decoders/tools.js";
import { makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";

describe("a bzImage where there is no WebAssembly", () => {
  for (const method of ONE_OF_EACH) {
    it(`of ${method.format} is decompressed by ${method.format === "gzip" ? "the host" : "the guest"}`, async () => {
      const kernel = packBzImage(method, makeVmlinux(1 << 20));
      const by = method.format === "gzip" ? "host" : "guest";
      decoders.decoders.use("javascript");
      try {
        for (const decompressInto of ["memory", "buffer"] as const) {
          const options = { kernel, memory: 1 << 26, decoders, decompressInto };
          assert.equal(planLinuxSync(options).decompression?.by, by);
          assert.equal((await planLinux(options)).decompression?.by, by);
          if (by === "host") continue;
          assert.throws(
            () => planLinuxSync({ ...options, decompress: "host" }),
            refusal("DECOMPRESS_UNSUPPORTED"),
          );
          await assert.rejects(
            planLinux({ ...options, decompress: "host" }),
            refusal("DECOMPRESS_UNSUPPORTED"),
          );
        }
      } finally {
        decoders.decoders.use("auto");
      }
    });
  }
});
