// Plans a load, prints where everything will lie, and applies the plan to two guests.
//
//     node node-script.mjs vmlinuz initrd.img modules.cpio --append "console=ttyS0 quiet" --memory 256
import { parseArgs } from "node:util";
import { applyPlanSync, DirectBootError, GuestMemory, GuestMemoryImporter, planLinuxSync } from "directboot";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    append: { type: "string", default: "" },
    memory: { type: "string", default: "256" },
  },
});
const [kernel, ...initrd] = positionals;
if (kernel === undefined) throw new Error("usage: node node-script.mjs KERNEL [INITRD …]");

const hex = (value) => `0x${value.toString(16)}`;

try {
  // Nothing is written yet; all that can be wrong is told here.
  const plan = planLinuxSync({
    kernel,
    initrd,
    commandLine: values.append,
    memory: Number(values.memory) * 1024 * 1024,
  });
  console.log(`${plan.architecture}, entered in ${plan.entryMode} at ${hex(plan.info.kernel.entrypoint)}`);

  const guests = [1, 2].map(() => {
    const importer = new GuestMemoryImporter(GuestMemory.create(plan.layout), { crc32: true });
    applyPlanSync(plan, importer);
    return importer;
  });
  plan.close();

  const [one, two] = guests;
  console.log("from        to          CRC-32    what");
  for (const { range, tag, crc32 } of one.regions.toSorted((a, b) => Number(a.range.start - b.range.start))) {
    const [from, to] = [hex(range.start), hex(range.end)].map((text) => text.padEnd(11));
    console.log(`${from} ${to} ${crc32.toString(16).padStart(8, "0")}  ${tag}`);
  }
  const isSame = one.regions.every(({ crc32 }, index) => crc32 === two.regions[index].crc32);
  console.log(`two guests, ${isSame ? "equal" : "not equal"}; each has a memory of its own`);
} catch (error) {
  if (!(error instanceof DirectBootError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
