/** Makes EFI zboot images (the kernel's drivers/firmware/efi/libstub/zboot-header.S) for tests. */

/** Fields that are left out are as in an arm64 kernel: 32 bytes of "payload" at 96. */
export interface ZbootShape {
  readonly magic?: string;
  readonly type?: string;
  readonly payloadOffset?: number;
  readonly payloadLength?: number;
  readonly compression?: string;
  /** undefined: none is written. */
  readonly linuxMagic?: number | undefined;
  readonly payload?: Uint8Array;
  readonly byteLength?: number;
}

/** The bytes of such a file. */
export function makeZboot(shape: ZbootShape = {}): Uint8Array<ArrayBuffer> {
  const payload = shape.payload ?? new Uint8Array(32).fill(0x1f);
  const bytes = new Uint8Array(96 + payload.byteLength);
  const view = new DataView(bytes.buffer);
  const text = new TextEncoder();
  bytes.set(text.encode(shape.magic ?? "MZ"));
  bytes.set(text.encode(shape.type ?? "zimg"), 4);
  view.setUint32(8, shape.payloadOffset ?? 96, true);
  view.setUint32(12, shape.payloadLength ?? payload.byteLength, true);
  bytes.set(text.encode(shape.compression ?? "gzip"), 24);
  const linuxMagic = "linuxMagic" in shape ? shape.linuxMagic : 0x8182_23cd;
  if (linuxMagic !== undefined) view.setUint32(56, linuxMagic, true);
  view.setUint32(60, 64, true);
  bytes.set(text.encode("PE"), 64);
  view.setUint16(68, 0xaa64, true);
  bytes.set(payload, 96);
  if (shape.byteLength === undefined) return bytes;
  const resized = new Uint8Array(shape.byteLength);
  resized.set(bytes.subarray(0, shape.byteLength));
  return resized;
}
