// A plan is made here and applied in a worker, into guest memory that both share: the thread that will run the guest never
// touches a file.
//
//     node worker.mjs vmlinuz
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { applyPlan, GuestMemory, planFromTransferable, planLinux } from "directboot";

const RAM_BYTES = 128 * 1024 * 1024;
const banks = [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength: RAM_BYTES }];

if (isMainThread) {
  const [kernel] = process.argv.slice(2);
  if (kernel === undefined) throw new Error("usage: node worker.mjs KERNEL");
  const ram = new SharedArrayBuffer(RAM_BYTES);
  const plan = await planLinux({ kernel, commandLine: "console=ttyS0", memory: RAM_BYTES });
  // "here": the files are read now. "there": the worker opens their paths.
  const { data, transfer } = await plan.toTransferable({ read: "here" });
  plan.close();

  const worker = new Worker(new URL(import.meta.url), { workerData: ram });
  worker.postMessage(data, transfer);
  const [registers] = await once(worker, "message");
  await worker.terminate();

  // What the worker wrote is here, too.
  const memory = GuestMemory.attach(ram, banks);
  const commandLine = new TextDecoder().decode(memory.read(0x3000, 13));
  console.log(`entry 0x${registers.rip.toString(16)}, command line ${commandLine}`);
} else {
  parentPort.once("message", async (data) => {
    const plan = planFromTransferable(data);
    await applyPlan(plan, GuestMemory.attach(workerData, banks));
    plan.close();
    parentPort.postMessage(plan.registers);
  });
}
