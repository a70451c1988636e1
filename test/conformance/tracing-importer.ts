/** The replay's importer: writes every call down as golden does, refuses what it is told to. */
import type { BootPageAcceptance, ImageLoad, VpRegister } from "../../src/index.js";
import { hex, PAGE_BYTES, sha256 } from "./blobs.js";
import type { JsonObject } from "./json.js";

/** A register as golden spells it: `mtrrFix64k00000` is `MtrrFix64k00000`. */
export function registerToJson(register: VpRegister): JsonObject {
  const { name, value } = register;
  const json: JsonObject = { op: "register", name: name.charAt(0).toUpperCase() + name.slice(1) };
  if (typeof value === "object") {
    for (const [field, part] of Object.entries(value)) json[field] = hex(part);
  } else {
    json["value"] = hex(value);
  }
  return json;
}

interface Imported {
  readonly start: bigint;
  readonly end: bigint;
  /** A copy: the loader may reuse its buffer. */
  readonly data: Uint8Array;
}

/**
 * Has only the two methods that every importer must have, so that a load takes the way that upstream's calls
 * show. Everything is hashed during the call, as the data is valid no longer.
 */
export class TracingImporter implements ImageLoad {
  readonly calls: JsonObject[] = [];
  /** What was accepted, in order. */
  readonly imported: Imported[] = [];
  /** What this importer threw, to be found as the cause of what the load throws. */
  refusal: Error | undefined;
  readonly #isStrict: boolean;
  readonly #failAt: bigint | undefined;
  readonly #registers = new Set<string>();

  constructor(isStrict: boolean, failAt: bigint | undefined) {
    this.#isStrict = isStrict;
    this.#failAt = failAt;
  }

  #refuse(message: string): never {
    this.refusal = new Error(message);
    throw this.refusal;
  }

  #record(call: JsonObject): void {
    this.calls.push(call);
    if (this.#failAt !== undefined && BigInt(this.calls.length - 1) === this.#failAt) {
      this.#refuse("injected failure");
    }
  }

  importPages(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    data: Uint8Array,
  ): void {
    this.#record({
      op: "pages",
      pageBase: hex(pageBase),
      pageCount,
      tag,
      acceptance,
      dataLength: data.byteLength,
      sha256: sha256(data),
    });
    const start = pageBase * BigInt(PAGE_BYTES);
    const end = start + BigInt(pageCount) * BigInt(PAGE_BYTES);
    if (this.#isStrict) {
      if (start === end) this.#refuse(`${tag} at ${hex(start)} has no pages`);
      if (BigInt(data.byteLength) > end - start) {
        this.#refuse(`data ${data.byteLength} larger than supplied page count ${pageCount}`);
      }
      const other = this.imported.find((range) => start < range.end && range.start < end);
      if (other !== undefined)
        this.#refuse(`${tag} at ${hex(start)} overlaps what is at ${hex(other.start)}`);
    }
    this.imported.push({ start, end, data: data.slice() });
  }

  importVpRegister(register: VpRegister): void {
    this.#record(registerToJson(register));
    if (this.#isStrict && this.#registers.has(register.name)) this.#refuse(`${register.name} is set already`);
    this.#registers.add(register.name);
  }
}
