/** A choice between a few, side by side; the first is taken at first. */
import { el } from "./dom.js";

export function segmented(
  legend: string,
  name: string,
  choices: readonly (readonly [label: string, choose: () => void])[],
): HTMLElement {
  const labels = choices.map(([label, choose], index) => {
    const input = el("input", { type: "radio", name, checked: index === 0 });
    input.addEventListener("change", choose);
    return el("label", {}, input, el("span", {}, label));
  });
  return el(
    "fieldset",
    { class: "segmented" },
    el("legend", { class: "visually-hidden" }, legend),
    ...labels,
  );
}
