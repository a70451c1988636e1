/** Errors as the page shows them. */
import { el } from "./dom.js";
import type { Problem } from "./protocol.js";

function sentence(text: string): string {
  const first = text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** The problem in an element that is there already, so that its role announces it. */
export function showProblem(place: HTMLElement, heading: string, problem: Problem): void {
  const { code, what, cure, meaning } = problem;
  place.replaceChildren(
    el("h2", {}, heading),
    el("p", { class: "what" }, what),
    ...(cure === undefined ? [] : [el("p", { class: "cure" }, el("b", {}, "What helps: "), sentence(cure))]),
    ...(code === undefined
      ? []
      : [
          el(
            "p",
            { class: "code" },
            el("code", {}, code),
            ...(meaning === undefined ? [] : [` ${sentence(meaning)}`]),
          ),
        ]),
  );
  place.hidden = false;
}
