// Loads a kernel while it is downloaded, compressed or not: its bytes go from the network to guest memory, and are kept
// nowhere else. Ctrl-C ends it, and so does the time limit.
//
//     node download.mjs https://example.org/vmlinuz [seconds]
import { DirectBootError, loadLinux } from "directboot";

const [url, seconds = "60"] = process.argv.slice(2);
if (url === undefined) throw new Error("usage: node download.mjs URL [SECONDS]");

const stop = new AbortController();
const { signal } = stop;
process.once("SIGINT", () => stop.abort());
setTimeout(() => stop.abort(), Number(seconds) * 1000).unref();

try {
  let reported = -1;
  const guest = await loadLinux({
    kernel: await fetch(url, { signal }), // a Response; its status is checked
    commandLine: "console=ttyS0",
    memory: 256 * 1024 * 1024,
    crc32: true,
    signal,
    onProgress({ loaded, total }) {
      const percent = Math.floor((loaded / total) * 100);
      if (percent > reported) console.log(`${percent} %, ${loaded} of ${total} bytes`);
      reported = percent;
    },
  });
  console.log(`${guest.architecture} kernel, entry 0x${guest.info.kernel.entrypoint.toString(16)}`);
  for (const { range, tag, crc32 } of guest.regions) console.log(`${range} ${tag} ${crc32.toString(16)}`);
} catch (error) {
  // Nothing of a load that failed is left in guest memory.
  if (error instanceof DirectBootError) console.error(`${error.code}: ${error.message}`);
  else console.error(`${url}: ${error.message}`);
  process.exitCode = 1;
}
