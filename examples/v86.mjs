// node examples/v86.mjs VMLINUZ [INITRD] [COMMAND-LINE]: boots a 32-bit kernel in v86, with its serial port on stdout.
// Debian's: linux-image-686 (apt-get download linux-image-686:i386). Needs `npm install v86@0.5.462`.
import { fileURLToPath } from "node:url";
import { bootV86 } from "directboot/v86";
import { V86 } from "v86";

const [kernel, initrd, commandLine = "console=ttyS0"] = process.argv.slice(2);
if (kernel === undefined) {
  process.stderr.write("usage: node examples/v86.mjs VMLINUZ [INITRD] [COMMAND-LINE]\n");
  process.exit(2);
}

const emulator = new V86({
  wasm_path: fileURLToPath(import.meta.resolve("v86/build/v86.wasm")),
  memory_size: 256 * 1024 * 1024,
  autostart: false,
});
emulator.add_listener("serial0-output-byte", (byte) => process.stdout.write(Uint8Array.of(byte)));
const guest = await bootV86(emulator, { kernel, initrd, commandLine });
process.stderr.write(`${guest.entryMode} at 0x${guest.registers.rip.toString(16)}\n`);
