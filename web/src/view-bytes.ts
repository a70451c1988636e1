/** Guest memory byte by byte: any region, and any address of RAM. */
import { el, section } from "./dom.js";
import { formatAddress, formatBytes } from "./format.js";
import type { GuestView } from "./protocol.js";

const ROWS = 16;
/** As many bytes as a line has on a narrow screen, and on another. */
const NARROW_BYTES = 8;
const WIDE_BYTES = 16;
const HINT = "an address in RAM, such as 0x1000";

function printable(byte: number): string {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
}

/** Lines as hexdump -C has them. */
function lines(address: bigint, bytes: Uint8Array, lineBytes: number): HTMLElement[] {
  return Array.from({ length: Math.ceil(bytes.byteLength / lineBytes) }, (_, index) => {
    const line = [...bytes.subarray(index * lineBytes, (index + 1) * lineBytes)];
    const numbers = line.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return el(
      "span",
      { class: line.every((byte) => byte === 0) ? "line zeros" : "line" },
      el("span", { class: "address" }, (address + BigInt(index * lineBytes)).toString(16).padStart(8, "0")),
      `  ${numbers.padEnd(lineBytes * 3 - 1)}  `,
      el("span", { class: "letters" }, line.map(printable).join("")),
      "\n",
    );
  });
}

/** The section with a window into memory. */
export class BytesView {
  readonly element: HTMLElement;
  readonly #guest: GuestView;
  readonly #ask: (address: bigint, byteLength: number) => void;
  readonly #region = el("select", { id: "bytes-region" });
  readonly #address = el("input", {
    type: "text",
    id: "bytes-address",
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "bytes-hint",
  });
  readonly #hint = el("p", { class: "hint", id: "bytes-hint" }, HINT);
  readonly #previous = el("button", { type: "button", id: "bytes-previous" }, "Previous");
  readonly #next = el("button", { type: "button", id: "bytes-next" }, "Next");
  readonly #dump = el("pre", {
    class: "dump",
    tabindex: "0",
    role: "group",
    "aria-label": "Bytes of guest memory",
  });
  #start = 0n;
  #length = 0n;
  #before = 0n;
  #lineBytes = WIDE_BYTES;

  /** @param ask asks for bytes, which then come to `show` */
  constructor(guest: GuestView, ask: (address: bigint, byteLength: number) => void) {
    this.#guest = guest;
    this.#ask = ask;
    this.#region.append(
      el("option", { value: "" }, "free RAM"),
      ...guest.regions.map(({ start, end, tag, segments }) => {
        const names = segments.map(({ name }) => `, ${name}`).join("");
        const text = `${formatAddress(start)}  ${tag}${names}, ${formatBytes(end - start)}`;
        return el("option", { value: String(start) }, text);
      }),
    );
    this.#region.addEventListener("change", () => {
      if (this.#region.value !== "") this.go(BigInt(this.#region.value));
    });
    this.#address.addEventListener("change", () => this.#goToText());
    this.#previous.addEventListener("click", () => this.go(this.#before));
    this.#next.addEventListener("click", () => this.go(this.#start + this.#length));
    const form = el(
      "form",
      { class: "bytes-form" },
      el("div", { class: "field" }, el("label", { for: "bytes-region" }, "Region"), this.#region),
      el(
        "div",
        { class: "field" },
        el("label", { for: "bytes-address" }, "Address"),
        this.#address,
        this.#hint,
      ),
      el("div", { class: "actions" }, this.#previous, this.#next),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#goToText();
    });
    this.element = section("bytes", "Bytes", form, this.#dump);
    // The first instructions.
    this.go(guest.entry);
  }

  /** Goes to an address; false if there is no RAM. */
  go(address: bigint): boolean {
    const ram = this.#guest.ram.find(({ start, end }) => address >= start && address < end);
    if (ram === undefined) return false;
    const isNarrow = matchMedia("(max-width: 40rem)").matches;
    this.#lineBytes = isNarrow ? NARROW_BYTES : WIDE_BYTES;
    const wanted = BigInt(ROWS * this.#lineBytes);
    this.#start = address;
    this.#length = ram.end - address < wanted ? ram.end - address : wanted;
    // One page back, or to where RAM starts.
    this.#before = address - ram.start < wanted ? ram.start : address - wanted;
    this.#previous.disabled = address === ram.start;
    this.#next.disabled = address + this.#length === ram.end;
    const region = this.#guest.regions.find(({ start, end }) => address >= start && address < end);
    this.#region.value = region === undefined ? "" : String(region.start);
    this.#address.value = formatAddress(address);
    this.#tell(true);
    this.#ask(address, Number(this.#length));
    return true;
  }

  /** Shows bytes that were asked for. */
  show(address: bigint, bytes: Uint8Array): void {
    if (address === this.#start) this.#dump.replaceChildren(...lines(address, bytes, this.#lineBytes));
  }

  #goToText(): void {
    const text = this.#address.value.trim();
    this.#tell(/^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(text) && this.go(BigInt(text)));
  }

  #tell(isValid: boolean): void {
    this.#address.setAttribute("aria-invalid", String(!isValid));
    this.#hint.textContent = isValid ? HINT : `there is no RAM: give ${HINT}`;
  }
}
