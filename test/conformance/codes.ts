/** Upstream's error variants and the codes of ours that they become: one table, whose default is failure. */
import { type DirectBootErrorCode, ERROR_CODES } from "../../src/index.js";
import { isObject, type JsonObject } from "./json.js";

/** Codes that say "the importer refused": their cause is what the importer threw. */
export const IMPORTER_CODES: ReadonlySet<DirectBootErrorCode> = new Set(["IMPORTER", "REGION_IMPORT_PAGES"]);

function isCode(name: string): name is DirectBootErrorCode {
  return Object.hasOwn(ERROR_CODES, name);
}

/** `Type::Variant` to code. */
const CODE_OF_VARIANT: ReadonlyMap<string, DirectBootErrorCode> = new Map(
  Object.entries(ERROR_CODES).flatMap(([name, { openvmm }]): [string, DirectBootErrorCode][] =>
    openvmm !== undefined && isCode(name) ? [[openvmm, name]] : [],
  ),
);

/** The error type that an upstream function returns. */
const TYPE_OF_OP: Readonly<Record<string, string>> = {
  load_kernel_and_initrd_x64: "Error",
  load_config: "Error",
  load_x86: "Error",
  load_kernel_and_initrd_arm64: "Error",
  set_direct_boot_registers_arm64: "Error",
  boot_arm64: "Error",
  load_static_elf: "elf::Error",
  import_file_region: "ImportFileRegionError",
};

/** Variants that only wrap an error of another type: directboot throws the inner one's code. */
const WRAPPED_TYPE: Readonly<Record<string, string>> = {
  "Error::ElfLoader": "elf::Error",
  "Error::FlatLoader": "FlatLoaderError",
  "elf::Error::ImportFileRegion": "ImportFileRegionError",
};

function codeIn(type: string, error: JsonObject): DirectBootErrorCode | undefined {
  const { variant, source } = error;
  if (typeof variant !== "string") return undefined;
  const openvmm = `${type}::${variant}`;
  const inner = WRAPPED_TYPE[openvmm];
  if (inner === undefined) return CODE_OF_VARIANT.get(openvmm);
  return isObject(source) ? codeIn(inner, source) : undefined;
}

/** The code that `error`, as golden's `expected/` spells it, becomes when `op` throws it; undefined if none. */
export function expectedCode(op: string, error: JsonObject): DirectBootErrorCode | undefined {
  const { variant, kind } = error;
  // Layouts are made by several ops; golden spells their one error type as a variant with a kind.
  if (variant === "MemoryLayout") {
    return typeof kind === "string" ? CODE_OF_VARIANT.get(`MemoryLayout::${kind}`) : undefined;
  }
  if (op === "crc32") {
    // The only op whose error is a bare io::Error; codes as ChunkBuf.crc32 documents them.
    if (variant !== "IoError") return undefined;
    return kind === "UnexpectedEof" ? "SOURCE_SHORT" : "SOURCE_READ";
  }
  // import_default_gdt is generic over the importer's error, so there is no variant: what the importer threw.
  if (op === "import_default_gdt") return variant === undefined ? "IMPORTER" : undefined;
  const type = TYPE_OF_OP[op];
  return type === undefined ? undefined : codeIn(type, error);
}

/** The variants of `error`, outermost first, for messages. */
export function variantChain(error: JsonObject): string {
  const { variant, kind, source } = error;
  const own = typeof variant === "string" ? variant : "(no variant)";
  const here = typeof kind === "string" ? `${own}(${kind})` : own;
  return isObject(source) && source["variant"] !== undefined ? `${here} > ${variantChain(source)}` : here;
}
