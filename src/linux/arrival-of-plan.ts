/** A plan that was posted from another thread. */
import { DirectBootError } from "../base/errors.js";
import { wrongType } from "../base/options.js";
import { toLayout } from "../plan/check.js";
import { type LoadInfoInput, toLoadInfo } from "../plan/load-info.js";
import { BlobSource } from "../sources/blob.js";
import { BytesSource } from "../sources/bytes.js";
import { FileSource } from "../sources/file.js";
import { guardSource, type Source } from "../sources/source.js";
import { viewOf } from "../sources/views.js";
import { LinuxPlan, type TransferredPlan } from "./linux-plan.js";
import type { TravellingSource } from "./travel.js";

/** Opens what travelled. */
function unpack(packed: TravellingSource, files: FileSource[]): Source {
  const { name, byteLength } = packed;
  if (packed.kind === "bytes") {
    const { start, bytes } = packed;
    const source = new BytesSource(bytes, name);
    return viewOf(name, byteLength, [{ source, from: 0, start, end: start + bytes.byteLength }]);
  }
  if (packed.kind === "blob") return new BlobSource(packed.blob, name);
  if (packed.kind === "view") {
    const pieces = packed.pieces.map((piece) => ({
      ...piece,
      source: guardSource(unpack(piece.source, files)),
    }));
    return viewOf(name, byteLength, pieces);
  }
  if (packed.kind !== "file") throw wrongType("a plan's source", "one of toTransferable", packed);
  const file = new FileSource(packed.isUrl ? new URL(packed.file) : packed.file);
  files.push(file);
  if (file.byteLength === byteLength) return file;
  const message = `${name} has ${file.byteLength} bytes, it had ${byteLength} when the plan was made`;
  throw new DirectBootError("PLAN_NOT_TRANSFERABLE", message, { cure: "make the plan anew" });
}

/**
 * The plan that `plan.toTransferable` made data of, with its files open: close it when its last load is over.
 *
 * @throws TypeError if `data` is none of toTransferable
 * @throws DirectBootError SOURCE_NOT_FOUND; PLAN_NOT_TRANSFERABLE for a file that has another length by now
 *
 * @example
 * ```ts
 * import { applyPlanSync, GuestMemory, planFromTransferable, planLinux } from "directboot";
 *
 * const plan = await planLinux({ kernel: "vmlinuz", memory: 64 * 1024 * 1024 });
 * const { data, transfer } = await plan.toTransferable({ read: "here" });
 * const arrived = structuredClone(data, { transfer }); // worker.postMessage(data, transfer)
 * applyPlanSync(planFromTransferable(arrived), GuestMemory.create(plan.layout));
 * ```
 */
export function planFromTransferable(data: TransferredPlan): LinuxPlan {
  if (data?.kind !== "directboot-plan") throw wrongType("data", "the data of plan.toTransferable", data);
  const files: FileSource[] = [];
  const close = (): void => {
    for (const file of files.splice(0)) file.close();
  };
  try {
    const { steps, architecture, entryMode, decompression } = data;
    const layout = toLayout(data.layout, "the layout of a plan");
    if (layout === undefined) throw wrongType("data", "the data of plan.toTransferable", data);
    const sources = data.sources.map((source) => unpack(source, files));
    const info = toLoadInfo(data.info satisfies LoadInfoInput);
    const elsewhere = (): never => {
      throw new DirectBootError(
        "PLAN_NOT_TRANSFERABLE",
        "a plan that was transferred has its command line for good",
        { cure: "call with() before toTransferable()" },
      );
    };
    const parts = { plan: { steps, sources }, layout, info, architecture, entryMode, decompression };
    return new LinuxPlan({ ...parts, with: elsewhere }, close);
  } catch (cause) {
    close();
    throw cause;
  }
}
