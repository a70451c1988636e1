/** Elements made without markup in strings: nothing that comes from a file can become markup. */

type Child = Node | string | undefined;

interface Attributes {
  readonly [name: string]: string | boolean | undefined;
}

/** An element with attributes and children; `true` is an attribute without a value, `undefined` and `false` none. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** The element of the page with that id, which is of that class. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

/** A value in the typeface for code. */
export function code(text: string): HTMLElement {
  return el("code", {}, text);
}

/**
 * A table. On a narrow screen each row is a block of its own (style.css), whose cells have their columns' titles: roles keep
 * it a table then.
 */
export function table(
  caption: string,
  columns: readonly { readonly title: string; readonly kind?: "number" | "code" | "text" }[],
  rows: readonly (readonly Child[])[],
): HTMLElement {
  const head = el(
    "tr",
    { role: "row" },
    ...columns.map(({ title, kind }) => el("th", { scope: "col", role: "columnheader", class: kind }, title)),
  );
  const body = rows.map((cells) =>
    el(
      "tr",
      { role: "row" },
      ...cells.map((cell, index) =>
        el("td", { role: "cell", class: columns[index]?.kind, "data-title": columns[index]?.title }, cell),
      ),
    ),
  );
  return el(
    "div",
    { class: "scroller", tabindex: "0", role: "group", "aria-label": caption },
    el(
      "table",
      { role: "table" },
      el("caption", { class: "visually-hidden" }, caption),
      el("thead", { role: "rowgroup" }, head),
      el("tbody", { role: "rowgroup" }, ...body),
    ),
  );
}

/** A section of the report with a heading that links can lead to. */
export function section(id: string, title: string, ...children: readonly Child[]): HTMLElement {
  return el(
    "section",
    { id, class: "card", "aria-labelledby": `${id}-heading` },
    el("h2", { id: `${id}-heading`, tabindex: "-1" }, title),
    ...children,
  );
}

/** Gives the reader a file. */
export function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // The download has begun when the click returns, but its reading may not.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
