/**
 * A flattened device tree (Devicetree Specification, chapter 5) that says where RAM is, and nothing else: an arm64 kernel
 * can be planned with it where the machine's own tree is not at hand. No kernel boots with it.
 */

const MAGIC = 0xd00d_feed;
const VERSION = 17;
const LAST_COMPATIBLE_VERSION = 16;
const HEADER_BYTES = 40;
/** One empty entry ends the memory reservation block. */
const RESERVATION_BYTES = 16;
const BEGIN_NODE = 1;
const END_NODE = 2;
const PROPERTY = 3;
const END = 9;
/** Where QEMU's virt machine has its RAM. */
const RAM_START = 0x4000_0000;

/** The structure block and the strings block, as they grow. */
class Blocks {
  readonly words: number[] = [];
  strings = "";

  /** A name or a text, NUL-terminated and padded to whole words. */
  #text(text: string): void {
    const bytes = new TextEncoder().encode(`${text}\0`);
    for (let at = 0; at < bytes.byteLength; at += 4) {
      const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4);
      this.words.push(((a << 24) | (b << 16) | (c << 8) | d) >>> 0);
    }
  }

  #header(name: string, byteLength: number): void {
    this.words.push(PROPERTY, byteLength, this.strings.length);
    this.strings += `${name}\0`;
  }

  begin(name: string): void {
    this.words.push(BEGIN_NODE);
    this.#text(name);
  }

  end(): void {
    this.words.push(END_NODE);
  }

  text(name: string, value: string): void {
    this.#header(name, value.length + 1);
    this.#text(value);
  }

  cells(name: string, ...cells: readonly number[]): void {
    this.#header(name, cells.length * 4);
    this.words.push(...cells);
  }
}

/** The tree of a machine with `memoryBytes` of RAM from 1 GiB on, as QEMU's virt machine has it. */
export function bareDeviceTree(memoryBytes: number): Uint8Array<ArrayBuffer> {
  const blocks = new Blocks();
  blocks.begin("");
  blocks.cells("#address-cells", 2);
  blocks.cells("#size-cells", 2);
  blocks.begin("chosen");
  blocks.end();
  blocks.begin(`memory@${RAM_START.toString(16)}`);
  blocks.text("device_type", "memory");
  blocks.cells("reg", 0, RAM_START, Math.floor(memoryBytes / 2 ** 32), memoryBytes % 2 ** 32);
  blocks.end();
  blocks.end();
  blocks.words.push(END);

  const strings = new TextEncoder().encode(blocks.strings);
  const structureOffset = HEADER_BYTES + RESERVATION_BYTES;
  const structureBytes = blocks.words.length * 4;
  const stringsOffset = structureOffset + structureBytes;
  const total = stringsOffset + strings.byteLength;
  const tree = new Uint8Array(total);
  const view = new DataView(tree.buffer);
  // magic, totalsize, off_dt_struct, off_dt_strings, off_mem_rsvmap, version, last_comp_version, boot_cpuid_phys,
  // size_dt_strings, size_dt_struct (Devicetree Specification, 5.2)
  const header = [
    ...[MAGIC, total, structureOffset, stringsOffset, HEADER_BYTES],
    ...[VERSION, LAST_COMPATIBLE_VERSION, 0, strings.byteLength, structureBytes],
  ];
  for (const [index, word] of header.entries()) view.setUint32(index * 4, word);
  for (const [index, word] of blocks.words.entries()) view.setUint32(structureOffset + index * 4, word);
  tree.set(strings, stringsOffset);
  return tree;
}
