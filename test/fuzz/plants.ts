/** Mistakes that are planted to see whether the fuzzer finds them. They wrap what is fuzzed; none of them is in src/. */
import type { DecompressOptions } from "../../src/decoders/index.js";
import { readHead } from "../../src/sources/reading.js";
import { hasKnownLength, type Source } from "../../src/sources/source.js";
import { SUBJECT, type Subject } from "./subject.js";

/** A mistake, the target that should find it, and what is said of it. */
export interface Plant {
  readonly name: string;
  readonly target: string;
  readonly message: RegExp;
  readonly subject: Subject;
}

/** A source that tells of a byte more than it has: bounds are off by one. */
function oneLonger(source: Source): Source {
  if (!hasKnownLength(source)) return source;
  const { byteLength, name } = source;
  const read: Source["read"] = (target, offset, signal) => source.read(target, offset, signal);
  const { readSync } = source;
  return {
    name,
    byteLength: byteLength + 1,
    read,
    ...(readSync === undefined
      ? {}
      : { readSync: (target: Uint8Array, offset: number) => readSync.call(source, target, offset) }),
  };
}

/** Bytes of a mistaken allocation at most: what the machine of the test can bear. */
const MOST_PLANTED = 256 << 20;

/** What is allocated by mistake lives until the next. */
const held: { bytes?: Uint8Array } = {};

export const PLANTS: readonly Plant[] = [
  {
    name: "a bounds check that is off by one",
    target: "zboot",
    message: /the payload passes the end of the file|disagree/,
    subject: { ...SUBJECT, readZboot: (source) => SUBJECT.readZboot(oneLonger(source)) },
  },
  {
    name: "a RangeError where a field is 0",
    target: "bzimage",
    message: /escaped: RangeError/,
    subject: {
      ...SUBJECT,
      readBzImage: function* (source) {
        const image = yield* SUBJECT.readBzImage(source);
        return { ...image, header: new Uint8Array(image.payloadLength === 0 ? -1 : image.header.length) };
      },
    },
  },
  {
    name: "memory for as many bytes as a header says",
    target: "elf",
    message: /memory grew by/,
    subject: {
      ...SUBJECT,
      readElf: function* (source, machine) {
        const head = yield* readHead(source, 64);
        const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
        const size = head.byteLength < 64 ? 0 : Number(view.getBigUint64(40, true));
        held.bytes = new Uint8Array(Math.min(size, MOST_PLANTED));
        return yield* SUBJECT.readElf(source, machine);
      },
    },
  },
  {
    name: "a source that gives other bytes when it is awaited",
    target: "device-tree",
    message: /peek and async disagree/,
    subject: {
      ...SUBJECT,
      openDriver: (driver, bytes, chunks) => {
        const source = SUBJECT.openDriver(driver, bytes, chunks);
        if (driver !== "async") return source;
        return {
          ...source,
          read: async (target, offset, signal) => {
            await source.read(target, offset, signal);
            // The last byte of what is long is forgotten.
            if (target.byteLength > 300) target[target.byteLength - 1] = 0xee;
          },
        };
      },
    },
  },
  {
    name: "a load that writes before it has checked",
    target: "load-x86",
    message: /guest memory was changed by a load that was refused/,
    subject: {
      ...SUBJECT,
      loadLinuxSync: ((options: Parameters<Subject["loadLinuxSync"]>[0]) => {
        const { memory } = options;
        if (typeof memory === "object" && "buffer" in memory && memory.buffer instanceof ArrayBuffer) {
          new Uint8Array(memory.buffer)[0x10_0000] = 1;
        }
        return SUBJECT.loadLinuxSync(options);
      }) as Subject["loadLinuxSync"],
    },
  },
  {
    name: "a twin that gives another byte than the WASM",
    target: "gzip",
    message: /WASM and the twin disagree/,
    subject: {
      ...SUBJECT,
      decoders: {
        ...SUBJECT.decoders,
        decompress: (format, input, options: DecompressOptions) => {
          const output = SUBJECT.decoders.decompress(format, input, options);
          const isTwin = SUBJECT.decoders.decoders.implementation === "javascript";
          if (isTwin && output.length > 100) output[99] = (output[99] ?? 0) ^ 1;
          return output;
        },
      },
    },
  },
];
