// Loads a kernel while it is downloaded. An uncompressed one, and a vmlinux or Image in gzip, go from the network to guest
// memory and are kept nowhere else. Any other compressed kernel (a vmlinuz, zstd, xz …) is kept until all of it is there,
// and a vmlinux that comes out of it until it is loaded: so much more memory such a load takes for a while. Ctrl-C ends
// it, and so does the time limit.
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
  let reported = "";
  const guest = await loadLinux({
    kernel: await fetch(url, { signal }), // a Response; its status is checked
    commandLine: "console=ttyS0",
    memory: 256 * 1024 * 1024,
    crc32: true,
    signal,
    // "read" is the download; a server need not say how long the file is.
    onProgress({ phase, loaded, total }) {
      const step = total === undefined ? `${loaded >> 20} MiB` : `${Math.floor((loaded / total) * 100)} %`;
      if (`${phase} ${step}` === reported) return;
      reported = `${phase} ${step}`;
      console.log(`${reported}, ${loaded} of ${total ?? "?"} bytes`);
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
