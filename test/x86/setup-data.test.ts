import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  buildSetupData,
  SETUP_DATA_HEADER_BYTES,
  SETUP_DTB,
  SETUP_E820_EXT,
  SETUP_RNG_SEED,
  type SetupDataNode,
} from "../../src/x86/setup-data.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();

/** Compiles and runs a program over the kernel's own header. */
function runC(name: string, body: string, args: readonly string[] = []): string {
  const source = join(folder, `${name}.c`);
  const program = join(folder, name);
  writeFileSync(
    source,
    `#include <stddef.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <asm/bootparam.h>\n${body}`,
  );
  runTool("gcc libc6-dev linux-libc-dev", "cc", ["-m64", "-Wall", "-Werror", "-o", program, source]);
  return runTool("gcc", program, args).trim();
}

/** Follows `next` from `address`, as Linux does, over a list that lies at `base`. */
function walk(
  list: Uint8Array,
  base: bigint,
  address = base,
): { at: bigint; type: number; data: Uint8Array }[] {
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  const nodes: { at: bigint; type: number; data: Uint8Array }[] = [];
  for (let at = address; at !== 0n; at = view.getBigUint64(Number(at - base), true)) {
    const offset = Number(at - base);
    const byteLength = view.getUint32(offset + 12, true);
    nodes.push({
      at,
      type: view.getUint32(offset + 8, true),
      data: list.slice(offset + 16, offset + 16 + byteLength),
    });
    assert.ok(nodes.length <= 1000, "the list has no end");
  }
  return nodes;
}

describe("the constants of setup_data", () => {
  it("are those of the kernel's own header", () => {
    const found = runC(
      "constants",
      `int main(void) {
  printf("%d %d %d %zu %zu %zu %zu", SETUP_E820_EXT, SETUP_DTB, SETUP_RNG_SEED,
         sizeof(struct setup_data), offsetof(struct setup_data, type), offsetof(struct setup_data, len),
         offsetof(struct setup_data, data));
  return 0;
}
`,
    );
    const ours = [SETUP_E820_EXT, SETUP_DTB, SETUP_RNG_SEED, SETUP_DATA_HEADER_BYTES, 8, 12];
    assert.equal(found, [...ours, SETUP_DATA_HEADER_BYTES].join(" "));
  });
});

describe("buildSetupData", () => {
  it("is a list that a C program walks by the kernel's own struct", () => {
    const base = 0x9000n;
    const nodes: SetupDataNode[] = [
      { type: SETUP_DTB, data: noise(101) },
      { type: SETUP_RNG_SEED, data: noise(32) },
      { type: SETUP_E820_EXT, data: noise(40) },
    ];
    const file = join(folder, "list.bin");
    writeFileSync(file, buildSetupData(base, nodes));
    const found = runC(
      "walk",
      `static _Alignas(8) unsigned char memory[65536];
int main(int argc, char **argv) {
  FILE *file = fopen(argv[1], "rb");
  unsigned long base = strtoul(argv[2], NULL, 0), at = base;
  if (argc != 3 || file == NULL || fread(memory + base, 1, sizeof memory - base, file) == 0) return 1;
  while (at != 0) {
    struct setup_data *node = (struct setup_data *)(memory + at);
    unsigned sum = 0;
    for (unsigned i = 0; i < node->len; i++) sum = sum * 31 + node->data[i];
    printf("%u %u %u\\n", node->type, node->len, sum);
    at = node->next;
  }
  return 0;
}
`,
      [file, `${base}`],
    );
    const expected = nodes.map(({ type, data }) => {
      const sum = data.reduce((so_far, byte) => (Math.imul(so_far, 31) + byte) >>> 0, 0);
      return `${type} ${data.byteLength} ${sum}`;
    });
    assert.equal(found, expected.join("\n"));
  });

  it("is walked back to the nodes that were given, each and its data at a multiple of 8", () => {
    const node = fc.record({
      type: fc.integer({ min: 0, max: 0xffff_ffff }),
      data: fc.uint8Array({ maxLength: 70 }),
    });
    const anAddress = fc.bigInt({ min: 1n, max: 1n << 60n }).map((n) => n * 8n);
    fc.assert(
      fc.property(anAddress, fc.array(node, { minLength: 1, maxLength: 20 }), (address, nodes) => {
        const list = buildSetupData(address, nodes);
        const found = walk(list, address);
        assert.deepEqual(
          found.map(({ type, data }) => ({ type, data })),
          nodes.map(({ type, data }) => ({ type, data: Uint8Array.from(data) })),
        );
        assert.ok(found.every(({ at }) => at % 8n === 0n));
        const last = found.at(-1);
        assert.ok(last !== undefined);
        const end = last.at - address + 16n + BigInt(last.data.byteLength);
        assert.equal(BigInt(list.byteLength), ((end + 7n) / 8n) * 8n);
      }),
    );
  });

  it("refuses more than any array holds, without the memory for it", () => {
    const big = { type: 1, data: new Uint8Array(1 << 24) };
    const act = (): unknown => buildSetupData(8n, new Array<SetupDataNode>(2000).fill(big));
    assert.throws(act, refusal("SETUP_DATA_INVALID", "2147483647"));
  });
});
