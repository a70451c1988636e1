import { makeArm64Image } from "../linux/guest-reader.js";

export const PE_OFFSET = 0x40;
const OPTIONAL_HEADER_BYTES = 0x70;
/** Where the section table begins, and ends. */
export const SECTIONS_OFFSET = PE_OFFSET + 24 + OPTIONAL_HEADER_BYTES;
export const SECTIONS_END = SECTIONS_OFFSET + 80;
/** Where the raw data of the last section ends. */
export const PE_IMAGE_BYTES = 0x3400;

/** An arm64 Image that is a PE program of two sections, as Linux makes them. */
export function makePeImage(change: (view: DataView) => void = () => {}): Uint8Array<ArrayBuffer> {
  const bytes = makeArm64Image({ byteLength: PE_IMAGE_BYTES });
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x91005a4d, true);
  view.setUint32(60, PE_OFFSET, true);
  view.setUint32(PE_OFFSET, 0x4550, true);
  view.setUint16(PE_OFFSET + 6, 2, true);
  view.setUint16(PE_OFFSET + 20, OPTIONAL_HEADER_BYTES, true);
  for (const [index, [start, size]] of (
    [
      [0x1000, 0x2000],
      [0x3000, 0x400],
    ] as const
  ).entries()) {
    view.setUint32(SECTIONS_OFFSET + index * 40 + 16, size, true);
    view.setUint32(SECTIONS_OFFSET + index * 40 + 20, start, true);
  }
  change(view);
  return bytes;
}
