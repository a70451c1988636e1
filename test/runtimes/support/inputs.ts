import { readFileSync } from "node:fs";
import type { CompressionFormat } from "../../../src/decoders/index.js";
import { compress, ONE_OF_EACH } from "../../decoders/tools.js";
import { memoryTree } from "../../support/device-tree-maker.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../../support/paths.js";
import type { SmokeInputs } from "./smoke.js";

/** The inputs of the smoke suite, on this side. */
export function smokeInputs(): SmokeInputs {
  const x86 = Uint8Array.from(readFileSync(X86_64_GUEST));
  const packed = new Map<CompressionFormat, Uint8Array<ArrayBuffer>>(
    ONE_OF_EACH.map((method) => [method.format, compress(method, x86)]),
  );
  return {
    x86,
    arm64: Uint8Array.from(readFileSync(AARCH64_GUEST)),
    deviceTree: Uint8Array.from(memoryTree(64 << 20)),
    packed: Object.fromEntries(packed) as SmokeInputs["packed"],
  };
}

/** A module that exports `inputs`, the same for any runtime. */
export function inputsModule({ packed, ...files }: SmokeInputs): string {
  const bytes = (value: Uint8Array): string => `bytes("${Buffer.from(value).toString("base64")}")`;
  const record = (values: Readonly<Record<string, Uint8Array>>): string =>
    Object.entries(values)
      .map(([name, value]) => `${JSON.stringify(name)}: ${bytes(value)},`)
      .join("\n");
  return `const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
export const inputs = () => ({ ${record(files)} packed: { ${record(packed)} } });
`;
}
