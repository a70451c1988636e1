/** How much RAM a guest needs: by planning it with other sizes. */
import { DirectBootError } from "../base/errors.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { x86LayoutOfSize } from "./low-memory-map.js";

/** More than any guest needs for a kernel and initrd, MiB. */
const MOST_MEBIBYTES = 1 << 19;

/** An error for too little RAM, with how much would do, if the size is all that is wrong; other errors as they are. */
export function withLeastMemory(
  cause: unknown,
  layout: MemoryLayout,
  plan: (layout: MemoryLayout) => unknown,
): unknown {
  const isRoom =
    cause instanceof DirectBootError &&
    (cause.code === "GUEST_MEMORY_NOT_RAM" || cause.code === "PLACEMENT_NO_ROOM");
  if (!isRoom || `${layout}` !== `${x86LayoutOfSize(layout.ramSize)}`) return cause;
  const fits = (mebibytes: number): boolean => {
    try {
      plan(x86LayoutOfSize(BigInt(mebibytes) << 20n));
      return true;
    } catch {
      return false;
    }
  };
  let low = Number(layout.ramSize >> 20n);
  let high = MOST_MEBIBYTES;
  if (!fits(high)) return cause;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) high = middle;
    else low = middle;
  }
  const cure = `give the guest more RAM: ${high} MiB would do for this kernel and initrd`;
  return new DirectBootError(cause.code, cause.details, { cause: cause.cause, cure });
}
