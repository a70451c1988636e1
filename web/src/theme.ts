/** Light or dark: the system's choice, or the reader's for this visit and the next. */
const KEY = "directboot-theme";
const THEMES = ["auto", "light", "dark"];

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    // Storage is forbidden here: the choice holds for this visit.
    return null;
  }
}

/** Wires the buttons; `onChange` is called when what is shown turns light or dark. */
export function setUpTheme(fieldset: HTMLFieldSetElement, onChange: () => void): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = (theme: string): void => {
    if (theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    onChange();
  };
  const inputs = [...fieldset.querySelectorAll("input")];
  const first = stored() ?? "auto";
  for (const input of inputs) {
    input.checked = input.value === (THEMES.includes(first) ? first : "auto");
    input.addEventListener("change", () => {
      if (!input.checked) return;
      try {
        localStorage.setItem(KEY, input.value);
      } catch {
        // As above.
      }
      apply(input.value);
    });
  }
  dark.addEventListener("change", onChange);
  apply(inputs.find(({ checked }) => checked)?.value ?? "auto");
}

/** The theme that is shown now. */
export function currentTheme(): "light" | "dark" {
  const chosen = document.documentElement.dataset["theme"];
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
