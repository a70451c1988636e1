/** What all ACPI tables have: a header, and a checksum in it. */
import { checksum, TableWriter } from "../table-writer.js";

/** sizeof of the header of a system description table (ACPI 6.5, table 5.4). */
export const HEADER_BYTES = 36;

/** Who made a table; Linux prints it and matches quirks by it. */
const OEM_ID = "DBOOT ";
const OEM_TABLE_ID = "DIRECTBT";
const CREATOR_ID = "DBT ";
const REVISION = 1;

/** ACPI 6.5, table 5.1: kinds of address spaces of a generic address. */
export const SYSTEM_MEMORY = 0;
export const SYSTEM_IO = 1;

/** A table: its header, and `body` behind it. */
export function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const head = new TableWriter()
    .ascii(signature)
    .u32(HEADER_BYTES + body.byteLength)
    .u8(revision, 0)
    .ascii(OEM_ID)
    .ascii(OEM_TABLE_ID)
    .u32(REVISION)
    .ascii(CREATOR_ID)
    .u32(REVISION);
  const bytes = new Uint8Array(HEADER_BYTES + body.byteLength);
  bytes.set(head.toBytes());
  bytes.set(body, HEADER_BYTES);
  bytes[9] = checksum(bytes);
  return bytes;
}
