/** The user's choices, as options of loadLinux. */
import type { LoadLinuxOptions } from "directboot";
import { bareDeviceTree } from "./bare-device-tree.js";
import type { Choices, KernelFiles } from "./protocol.js";

/** Options for any kernel, but for the memory; `isArm64` adds a tree where none was given. */
export function loadOptions(
  { kernel, initrds, deviceTree }: KernelFiles,
  { memoryBytes, commandLine, entry, decompress, decompressInitrd }: Choices,
  isArm64 = false,
): Omit<LoadLinuxOptions, "memory"> {
  return {
    kernel,
    initrd: initrds.length === 0 ? undefined : initrds,
    commandLine: commandLine === "" ? undefined : commandLine,
    deviceTree: deviceTree ?? (isArm64 ? bareDeviceTree(memoryBytes) : undefined),
    entry: isArm64 ? undefined : entry,
    decompress,
    decompressInitrd: initrds.length > 0 && decompressInitrd,
  };
}
