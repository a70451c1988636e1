/** The kernel command line: bytes without a NUL, up to what the kernel keeps. */
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { type Checks, is, optional } from "../base/options.js";
import type { GuestText } from "./planned-guest.js";

/** The checks of {@link GuestText}. */
export const TEXT_OPTIONS: Checks<keyof GuestText> = {
  commandLine: optional(
    is("a string or a Uint8Array", (value) => typeof value === "string" || value instanceof Uint8Array),
  ),
  rngSeed: optional(is("a Uint8Array", (value) => value instanceof Uint8Array)),
};

/** The bytes of a command line, without NUL. Throws COMMAND_LINE_NUL if there is one inside. */
export function commandLineBytes(commandLine: string | Uint8Array, name = "commandLine"): Uint8Array {
  if (typeof commandLine !== "string" && !(commandLine instanceof Uint8Array)) {
    throw new TypeError(`${name} must be a string or a Uint8Array, got ${describeType(commandLine)}`);
  }
  const bytes = typeof commandLine === "string" ? new TextEncoder().encode(commandLine) : commandLine;
  // A detached buffer has no bytes, and can't be searched.
  const nul = bytes.byteLength === 0 ? -1 : bytes.indexOf(0);
  if (nul >= 0) {
    throw new DirectBootError("COMMAND_LINE_NUL", `byte ${nul} of ${bytes.byteLength} of ${name} is NUL`);
  }
  return bytes;
}

/** Throws COMMAND_LINE_TOO_LONG above `longest` bytes, the NUL not counted: Linux would cut it. */
export function checkCommandLineLength({ byteLength }: Uint8Array, longest: number): void {
  if (byteLength > longest) {
    throw new DirectBootError(
      "COMMAND_LINE_TOO_LONG",
      `the command line has ${byteLength} bytes, the kernel takes ${longest}`,
    );
  }
}

/** A command line as it lies in memory. */
export function withNul(text: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(text.byteLength + 1);
  if (text.byteLength > 0) bytes.set(text);
  return bytes;
}
