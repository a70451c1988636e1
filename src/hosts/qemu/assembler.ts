/**
 * The smallest assembler that a boot ROM needs: it puts bytes in their place and keeps a listing of what they
 * mean, so that a test can hold the listing against a disassembler that knows nothing of it.
 */

/** What the processor takes the bytes of an instruction for: SDM 2A, section 2.1 (prefixes and operand sizes). */
export type CodeSize = 16 | 32 | 64;

/** One instruction of a {@link RomAssembler}, in the order in which it was emitted. */
export interface Instruction {
  /** Where it begins, in bytes from the start of the ROM. */
  readonly offset: number;
  readonly length: number;
  readonly codeSize: CodeSize;
  /** Intel syntax, numbers as `0x…`, one space behind the mnemonic, none behind a comma. */
  readonly text: string;
}

/** Lays out code and data in a ROM: code goes up from one offset, data from another. */
export class RomAssembler {
  readonly bytes: Uint8Array;
  readonly instructions: Instruction[] = [];
  #code: number;
  #data: number;
  #codeSize: CodeSize = 16;

  /**
   * @param size bytes in the ROM
   * @param filler what fills the gaps
   * @param code offset of the first instruction
   * @param data offset of the first data; code and data must not grow into each other
   */
  constructor(size: number, filler: number, code: number, data: number) {
    this.bytes = new Uint8Array(size).fill(filler);
    this.#code = code;
    this.#data = data;
  }

  /** Offset of the next instruction. */
  get here(): number {
    return this.#code;
  }

  /** Goes on with the code at another offset. */
  moveTo(offset: number): void {
    this.#code = offset;
  }

  /** From here on, the processor runs code of this size. */
  setCodeSize(codeSize: CodeSize): void {
    this.#codeSize = codeSize;
  }

  /** Emits one instruction: what it says, then its encoding, in parts. */
  emit(text: string, ...encoding: readonly (number | readonly number[])[]): void {
    const bytes = encoding.flat();
    this.bytes.set(bytes, this.#code);
    this.instructions.push({
      offset: this.#code,
      length: bytes.length,
      codeSize: this.#codeSize,
      text,
    });
    this.#code += bytes.length;
  }

  /** Places data, 8-byte aligned, and returns its offset. */
  place(...parts: readonly (readonly number[])[]): number {
    const offset = this.#data;
    const bytes = parts.flat();
    this.bytes.set(bytes, offset);
    this.#data = (offset + bytes.length + 7) & ~7;
    return offset;
  }
}

/** `value` as `byteLength` bytes, little-endian; bits past them are dropped, so negative numbers work, too. */
export function littleEndian(value: bigint | number, byteLength: 2 | 4 | 8): readonly number[] {
  const bits = BigInt(value);
  return Array.from({ length: byteLength }, (_, index) => Number((bits >> BigInt(8 * index)) & 0xffn));
}
