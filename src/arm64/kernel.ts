/** An arm64 Image as it will lie in memory (Documentation/arch/arm64/booting.rst, "Call the kernel image"). */
import { addAddresses, alignUpToPageSize, HV_PAGE_SIZE, hex } from "../base/address.js";
import { DirectBootError, type DirectBootErrorCode } from "../base/errors.js";
import {
  type Aarch64ImageHeader,
  ARM64_PAGE_SIZES,
  cutOffImage,
  decodeAarch64ImageFlags,
  leastArm64ImageBytes,
} from "../images/arm64-image.js";
import { DETECT_BYTES } from "../images/detect.js";
import { readHead } from "../sources/reading.js";
import { hasKnownLength, knownLength, type Source } from "../sources/source.js";
import { zeroExtend } from "../sources/views.js";
import type { Task } from "../task/task.js";
import type { Arm64Allowances } from "./options.js";

/** booting.rst, "Call the kernel image": "Where image_size is zero, text_offset can be assumed to be 0x80000." */
const OLD_TEXT_OFFSET = 0x8_0000n;
/**
 * Bytes that such a kernel may use from its start on: booting.rst gives no limit, U-Boot takes 16 MiB (arch/arm/lib/image.c,
 * booti_setup).
 */
const OLD_IMAGE_BYTES = 0x100_0000n;

/** An Image as it will lie in memory. */
export interface Arm64Kernel {
  /** From the 2 MiB aligned base to the Image: text_offset, or what booting.rst has for an old one. */
  readonly textOffset: bigint;
  /** Bytes of its pages. */
  readonly size: bigint;
  /** Bytes that are its own from its start on. */
  readonly used: bigint;
  /** Bit 3 of its flags. */
  readonly anyStartAddress: boolean;
  readonly image: Source;
}

/**
 * Checks an Image's header.
 *
 * @param arm64 what the caller allows. Undefined is OpenVMM's way: 4 KiB pages, placed anywhere; an image_size of 0 changes
 *   nothing, where booting.rst says that text_offset is then {@link OLD_TEXT_OFFSET} and the memory behind the file the
 *   kernel's; and a file may end before what its PE header says
 * @param start the base that it will be loaded at, if that is known
 * @throws DirectBootError ARM64_*, ADDRESS_OVERFLOW
 */
export function* readArm64Kernel(
  kernel: Source,
  header: Aarch64ImageHeader,
  arm64: Arm64Allowances | undefined,
  start = 0n,
): Task<Arm64Kernel> {
  const { name } = kernel;
  const { bigEndian, pageSize, anyStartAddress } = decodeAarch64ImageFlags(header.flags);
  const refused = (code: DirectBootErrorCode, why: string): DirectBootError =>
    new DirectBootError(code, `${name}: flags ${hex(header.flags)}: ${why}`);
  if (bigEndian) throw refused("ARM64_BIG_ENDIAN_KERNEL_IMAGE", "bit 0 says big-endian");
  const { pageSizes = ["4KiB"], lowPlacement = false } = arm64 ?? {};
  if (!pageSizes.includes(ARM64_PAGE_SIZES[pageSize])) {
    const why = `bits 1-2 say page size ${pageSize} (${ARM64_PAGE_SIZES[pageSize]}), ${pageSizes.join(" or ")} is wanted`;
    throw refused("ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED", why);
  }
  if (!anyStartAddress && !lowPlacement) {
    throw refused("ARM64_LOW_MEMORY_KERNEL", "bit 3, any placement, is not set");
  }

  const least = arm64 === undefined ? 0 : leastArm64ImageBytes(yield* readHead(kernel, DETECT_BYTES));
  if (kernel.byteLength < least) throw cutOffImage(name, kernel.byteLength, least);
  const isOld = arm64 !== undefined && header.imageSize === 0n;
  const textOffset = isOld ? OLD_TEXT_OFFSET : header.textOffset;
  const loadAddress = addAddresses(start, textOffset, `${name}: start address and text_offset`);
  if (loadAddress % HV_PAGE_SIZE !== 0n) {
    throw new DirectBootError(
      "ARM64_BAD_IMAGE_SIZE",
      `${name}: text_offset ${hex(textOffset)} is not a multiple of ${hex(HV_PAGE_SIZE)}`,
    );
  }
  const fileSize = BigInt(header.imageSize === 0n ? knownLength(kernel) : kernel.byteLength);
  const size = alignUpToPageSize(header.imageSize === 0n ? fileSize : header.imageSize);
  const tooLong = (): DirectBootError =>
    new DirectBootError(
      "ARM64_BAD_IMAGE_SIZE",
      `${name}: the file has ${hasKnownLength(kernel) ? hex(kernel.byteLength) : "more"} bytes, its image_size is ${hex(header.imageSize)}`,
    );
  if (size < fileSize && hasKnownLength(kernel)) throw tooLong();
  const used = isOld && size < OLD_IMAGE_BYTES ? OLD_IMAGE_BYTES : size;
  addAddresses(loadAddress, used, `${name}: end of the kernel`);
  const tooShort = (byteLength: number): DirectBootError => cutOffImage(name, byteLength, least);
  // OpenVMM's regions end with the file; ours with the image, whatever it comes from.
  if (hasKnownLength(kernel) && (arm64 === undefined || BigInt(kernel.byteLength) === size)) {
    return { textOffset, size, used, anyStartAddress, image: kernel };
  }
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new DirectBootError("ARM64_BAD_IMAGE_SIZE", `${name}: image_size is ${hex(size)}`);
  }
  const image = zeroExtend(kernel, Number(size), tooLong, { byteLength: least, tooShort });
  return { textOffset, size, used, anyStartAddress, image };
}
