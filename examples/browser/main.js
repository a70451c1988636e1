// Loads the chosen kernel into a WebAssembly.Memory, as an emulator in this page would have, and shows what lies where.
import { DirectBootError, detectKernel, loadLinux } from "directboot";

const $ = (id) => document.getElementById(id);
const hex = (value) => `0x${value.toString(16)}`;

/** The load that runs: a newer choice ends it. */
let running = new AbortController();

async function load() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const [kernel] = $("kernel").files;
  if (kernel === undefined) return;
  $("summary").textContent = "";
  $("problem").textContent = "";
  $("regions").replaceChildren();
  try {
    const { description } = await detectKernel(kernel, { signal });
    const guest = await loadLinux({
      kernel, // a File is a Blob
      initrd: [...$("initrd").files],
      commandLine: $("command-line").value,
      memory: new WebAssembly.Memory({ initial: (256 * 1024 * 1024) / 65536 }),
      crc32: true,
      signal,
      onProgress: ({ phase, loaded, total }) => {
        if (phase === "load") $("progress").value = loaded / total;
      },
    });
    const { entryMode, info, regions } = guest;
    $("summary").textContent = `${description}; entered in ${entryMode} at ${hex(info.kernel.entrypoint)}`;
    for (const { range, tag, crc32 } of regions) {
      const row = $("regions").insertRow();
      for (const text of [hex(range.start), hex(range.end), crc32.toString(16).padStart(8, "0"), tag]) {
        row.insertCell().textContent = text;
      }
    }
  } catch (error) {
    if (signal.aborted) return;
    $("problem").textContent =
      error instanceof DirectBootError ? `${error.code}: ${error.message}` : String(error);
  }
}

for (const id of ["kernel", "initrd", "command-line"]) $(id).addEventListener("change", load);
