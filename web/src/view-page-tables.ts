/** The page tables as a tree that unfolds. */
import { code, el, section } from "./dom.js";
import { formatAddress, formatBytes, formatHex } from "./format.js";
import type { PageTableEntryView, PageTableView } from "./inspection.js";

function indexes({ index, count }: PageTableEntryView): string {
  return count === 1 ? `${index}` : `${index} to ${index + count - 1}`;
}

function flags(names: readonly string[]): HTMLElement {
  return el("span", { class: "flags" }, names.join(" "));
}

function pages(entry: PageTableEntryView): (HTMLElement | string)[] {
  const { maps, count } = entry;
  if (maps === undefined) return [];
  const isIdentity = maps.virtualStart === maps.physical;
  return [
    code(`${formatAddress(maps.virtualStart)}-${formatAddress(maps.virtualEnd)}`),
    isIdentity ? " onto itself" : ` to ${formatAddress(maps.physical)}`,
    `: ${count} × ${formatBytes(maps.pageSize)} `,
  ];
}

function entryItem(entry: PageTableEntryView): HTMLElement {
  const { child, table, problem, present } = entry;
  const label = el("span", { class: "entry-index" }, indexes(entry));
  const warning = problem === undefined ? [] : [el("strong", { class: "warning" }, ` ${problem}`)];
  if (child !== undefined) {
    return el(
      "li",
      {},
      el(
        "details",
        { open: true },
        el("summary", {}, label, ...tableLabel(child), flags(entry.flags), ...warning),
        entryList(child),
      ),
    );
  }
  const content =
    table !== undefined
      ? ["a table at ", code(formatHex(table)), " "]
      : present
        ? pages(entry)
        : [el("span", { class: "absent" }, "not present")];
  return el(
    "li",
    {},
    el("div", { class: "leaf" }, label, el("span", {}, ...content), flags(entry.flags), ...warning),
  );
}

function tableLabel({ name, address, entrySpan }: PageTableView): (HTMLElement | string)[] {
  return [
    el(
      "span",
      {},
      `${name} at `,
      code(formatHex(address)),
      el("span", { class: "quiet-text" }, `, ${formatBytes(entrySpan)} an entry `),
    ),
  ];
}

function entryList(view: PageTableView): HTMLElement {
  return el("ul", {}, ...view.entries.map(entryItem));
}

/** The section with the tree, or with the reason why there is none. */
export function pageTableSection(root: PageTableView | undefined): HTMLElement {
  if (root === undefined) {
    return section(
      "page-tables",
      "Page tables",
      el("p", { class: "lead" }, "Paging is off when this kernel is entered: it makes its own tables."),
    );
  }
  return section(
    "page-tables",
    "Page tables",
    el(
      "p",
      { class: "lead" },
      "As the processor walks them from its first instruction on. Neighbouring entries that say the same are one line.",
    ),
    el(
      "div",
      { class: "tree" },
      el("details", { open: true }, el("summary", {}, ...tableLabel(root)), entryList(root)),
    ),
  );
}
