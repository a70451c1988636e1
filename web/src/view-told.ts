/** What the kernel is told: the zero page or the start info, as they were written. */
import { code, el, section } from "./dom.js";
import { formatHex } from "./format.js";
import type { ToldView } from "./protocol.js";
import { segmented } from "./segmented.js";
import { countOf, fieldTable, fold } from "./view-kernel.js";

const LEADS: Readonly<Record<ToldView["kind"], string>> = {
  "zero page": "boot_params as it was written, at ",
  "start info": "hvm_start_info as it was written, at ",
};
/** Where a table of its own shows the same. */
const SHOWN_ELSEWHERE = "e820_table";

/** The section with the fields; undefined where the kernel is told in another way. */
export function toldSection(told: ToldView | undefined): HTMLElement | undefined {
  if (told === undefined) return undefined;
  const { kind, address, fields } = told;
  const place = el("div", { class: "folds" });
  const show = (isSet: boolean): void => {
    const shown = isSet ? fields.filter(({ value }) => value !== "0x0") : fields;
    const parts = new Set(shown.map((field) => field.section));
    place.replaceChildren(
      ...[...parts].map((part) => {
        const own = shown.filter((field) => field.section === part);
        return fold(part, countOf(own.length), part !== SHOWN_ELSEWHERE, fieldTable(part, own));
      }),
    );
  };
  show(true);
  return section(
    "told",
    kind === "zero page" ? "Zero page" : "Start info",
    el("p", { class: "lead" }, LEADS[kind], code(formatHex(address)), "."),
    segmented("Fields", "told", [
      ["Fields that are set", () => show(true)],
      ["All fields", () => show(false)],
    ]),
    place,
  );
}
