/** Every kernel that the module exports is reached by what users call: none is there for its benchmark. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runProgram } from "../support/command.js";
import { inRoot, X86_64_GUEST } from "../support/paths.js";

// In a process of its own: WebAssembly.Instance is replaced before the first kernel is instantiated.
const SCRIPT = `
  const calls = {};
  const Real = WebAssembly.Instance;
  WebAssembly.Instance = function (module, imports) {
    const { exports } = new Real(module, imports);
    const counted = {};
    for (const [name, value] of Object.entries(exports)) {
      if (typeof value !== "function") { counted[name] = value; continue; }
      calls[name] ??= 0;
      counted[name] = (...args) => { calls[name]++; return value(...args); };
    }
    return { exports: counted };
  };
  const { GuestMemory, loadLinuxSync, PageTableBuilder } = await import(${JSON.stringify(inRoot("build/src/index.js"))});
  const seen = {};
  const during = (name, work) => {
    for (const kernel of Object.keys(calls)) calls[kernel] = 0;
    work();
    seen[name] = Object.keys(calls).filter((kernel) => calls[kernel] > 0).sort();
  };
  const kernel = ${JSON.stringify(X86_64_GUEST)};
  const memory = GuestMemory.create(64 << 20);
  during("loadLinux, from files to fresh memory", () => loadLinuxSync({ kernel, memory: GuestMemory.create(64 << 20) }));
  during("reset", () => { memory.write(0, new Uint8Array(8192).fill(1)); memory.reset(); });
  during("loadLinux, over memory that was used", () => {
    const used = GuestMemory.attach(new WebAssembly.Memory({ initial: 1024 }));
    loadLinuxSync({ kernel, memory: used });
  });
  const initrd = memory.view(48 << 20, 2 << 20);
  during("loadLinux, an initrd in the guest's own memory", () => loadLinuxSync({ kernel, initrd, memory }));
  memory.reset();
  during("the same with crc32: true", () => loadLinuxSync({ kernel, initrd, memory, crc32: true }));
  during("PageTableBuilder", () => new PageTableBuilder({ pageTableGpa: 0, ranges: [{ start: 0, end: 4096 }] }).build());
  console.log(JSON.stringify({ all: Object.keys(calls).sort(), seen }));
`;

test("every kernel is reached by loadLinux, reset or PageTableBuilder", async () => {
  const args = ["--input-type=module", "-e", SCRIPT];
  const { status, stdout, stderr } = await runProgram(process.execPath, args);
  assert.equal(status, 0, stderr);
  const { all, seen }: { all: string[]; seen: Record<string, string[]> } = JSON.parse(stdout);
  assert.deepEqual(seen, {
    "loadLinux, from files to fresh memory": ["identityMap"],
    reset: ["zero"],
    "loadLinux, over memory that was used": ["identityMap", "zero"],
    "loadLinux, an initrd in the guest's own memory": ["copy", "identityMap"],
    "the same with crc32: true": ["copyCrc32", "crc32", "crc32Prepare", "identityMap"],
    PageTableBuilder: ["entries", "zero"],
  });
  assert.deepEqual(all, [...new Set(Object.values(seen).flat())].sort());
});
