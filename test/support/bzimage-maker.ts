/** Makes bzImages (Documentation/arch/x86/boot.rst) for tests that need one of a certain shape. */

/** Fields of the setup header by name, and the file's parts. Fields that are left out are as in a kernel of 2.15. */
export interface BzImageShape {
  readonly version?: number;
  /** The field as it stands in the file: 0 means 4. */
  readonly setupSects?: number;
  /** Bytes of protected-mode code, a multiple of 16. */
  readonly code?: Uint8Array;
  readonly syssize?: number;
  readonly bootFlag?: number;
  readonly magic?: number;
  /** The byte at 0x201. */
  readonly jump?: number;
  readonly loadflags?: number;
  readonly payloadOffset?: number;
  readonly payloadLength?: number;
  /** Other fields: bytes of the file, little-endian. */
  readonly fields?: readonly (readonly [offset: number, size: 1 | 2 | 4 | 8, value: bigint | number])[];
  /** Bytes behind the protected-mode code. */
  readonly trailer?: Uint8Array;
  /** Cuts the file, or fills it with zeros. */
  readonly byteLength?: number;
}

/** Where the setup header ends in protocol 2.15, less 0x202. */
export const JUMP_2_15 = 0x6a;

/** The bytes of such a file. */
export function makeBzImage(shape: BzImageShape = {}): Uint8Array<ArrayBuffer> {
  const setupSects = shape.setupSects ?? 1;
  const code = shape.code ?? new Uint8Array(4096).fill(0xcc);
  const start = ((setupSects || 4) + 1) * 512;
  const trailer = shape.trailer ?? new Uint8Array(0);
  const bytes = new Uint8Array(start + code.byteLength + trailer.byteLength);
  bytes.set(code, start);
  bytes.set(trailer, start + code.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint8(0x1f1, setupSects);
  view.setUint32(0x1f4, shape.syssize ?? code.byteLength / 16, true);
  view.setUint16(0x1fe, shape.bootFlag ?? 0xaa55, true);
  view.setUint8(0x200, 0xeb);
  view.setUint8(0x201, shape.jump ?? JUMP_2_15);
  view.setUint32(0x202, shape.magic ?? 0x5372_6448, true);
  view.setUint16(0x206, shape.version ?? 0x20f, true);
  view.setUint8(0x211, shape.loadflags ?? 1);
  view.setUint32(0x214, 0x10_0000, true);
  view.setUint32(0x22c, 0x7fff_ffff, true);
  view.setUint32(0x230, 0x20_0000, true);
  view.setUint8(0x234, 1);
  view.setUint8(0x235, 21);
  view.setUint16(0x236, 0x7f, true);
  view.setUint32(0x238, 2047, true);
  view.setUint32(0x248, shape.payloadOffset ?? 0, true);
  view.setUint32(0x24c, shape.payloadLength ?? 0, true);
  view.setBigUint64(0x258, 0x100_0000n, true);
  view.setUint32(0x260, 0x2_0000, true);
  for (const [offset, size, value] of shape.fields ?? []) {
    for (let i = 0; i < size; i++)
      view.setUint8(offset + i, Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));
  }
  if (shape.byteLength === undefined) return bytes;
  const resized = new Uint8Array(shape.byteLength);
  resized.set(bytes.subarray(0, shape.byteLength));
  return resized;
}
