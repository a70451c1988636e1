/** ACPI tables that the caller gives, read whole. */
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import { knownLength, type Source } from "../sources/source.js";
import type { Task } from "../task/task.js";

/** Most bytes of an RSDP or of tables that are read: what lies between 0xe0000 and 1 MiB, many times over. */
const MOST_ACPI_BYTES = 16 * 1024 * 1024;

/** All of a small source. Throws SOURCE_EMPTY without a byte, ACPI_TOO_LONG above 16 MiB. */
export function* readTables(source: Source): Task<Uint8Array> {
  const length = knownLength(source);
  if (length > MOST_ACPI_BYTES) {
    throw new DirectBootError(
      "ACPI_TOO_LONG",
      `${source.name} has ${length} bytes, the limit is ${MOST_ACPI_BYTES}`,
    );
  }
  if (length === 0) {
    throw new DirectBootError("SOURCE_EMPTY", `${source.name} has 0 bytes`, {
      cure: "leave acpi out, or give the RSDP and the tables",
    });
  }
  return (yield* readBytes(source, 0, length)).slice();
}
