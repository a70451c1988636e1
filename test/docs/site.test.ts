/** `npm run docs` makes the site without a warning; links in it and in the Markdown pages lead somewhere. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { before, describe, it } from "node:test";
import { inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { documentationPages } from "./blocks.js";

const isElsewhere = (url: string): boolean => /^(?:[a-z][a-z0-9+.-]*:|\/\/)/i.test(url);

/** The links that lead nowhere, from a file at `from`; `anchorsOf` gives undefined for a file that is not there. */
function brokenLinks(
  from: string,
  links: readonly string[],
  anchorsOf: (path: string) => ReadonlySet<string> | "any" | undefined,
): string[] {
  return links.filter((link) => {
    if (isElsewhere(link)) return false;
    const [path = "", anchor = ""] = link.split("#");
    const target = path === "" ? from : posix.join(posix.dirname(from), decodeURI(path.replace(/\?.*$/, "")));
    const anchors = link.startsWith("/") ? undefined : anchorsOf(target);
    if (anchors === undefined) return true;
    return anchor !== "" && anchors !== "any" && !anchors.has(decodeURIComponent(anchor));
  });
}

/** Values of an attribute in a page, scripts left out. */
function attributes(html: string, name: string): string[] {
  const markup = html.replace(/(<script\b[^>]*>)[\s\S]*?<\/script>/g, "$1");
  return [...markup.matchAll(new RegExp(`<[a-z][^>]*?\\s${name}="([^"]*)"`, "gi"))].map(([, value = ""]) =>
    value.replaceAll("&amp;", "&").replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">"),
  );
}

describe("the site of npm run docs", () => {
  const folder = join(tempFolder(), "site");
  let problems: number;
  const pages = new Map<string, string>();
  const files = new Set<string>();
  before(async () => {
    const { makeSite } = await import(new URL(`file://${inRoot("scripts/docs.mjs")}`).href);
    problems = await makeSite(folder);
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
      if (statSync(join(folder, name)).isFile()) files.add(name);
      if (name.endsWith(".html")) pages.set(name, readFileSync(join(folder, name), "utf8"));
    }
  });

  it("is made without a warning of TypeDoc, of every page in docs/", () => {
    assert.equal(problems, 0);
    for (const path of documentationPages().filter((name) => name.startsWith("docs/"))) {
      const name = path.replace(/^docs\/guide\//, "guide/").replace(/\.md$/, ".html");
      assert.ok(pages.has(name), name);
    }
  });

  it("has no broken link or anchor, and loads nothing from elsewhere", () => {
    const ids = new Map([...pages].map(([name, html]) => [name, new Set(attributes(html, "id"))]));
    for (const [name, html] of pages) {
      const loaded = attributes(html, "src");
      // The toolbar's menu links are triggers of a script.
      const links = [...attributes(html, "href"), ...loaded].filter((link) => link !== "#");
      assert.deepEqual(
        brokenLinks(name, links, (path) => ids.get(path) ?? (files.has(path) ? "any" : undefined)),
        [],
        name,
      );
      assert.deepEqual(loaded.filter(isElsewhere), [], name);
    }
  });
});

describe("links of the Markdown pages", () => {
  /** Headings' anchors as GitHub makes them. */
  const anchorsOf = (path: string): ReadonlySet<string> | "any" | undefined => {
    if (!existsSync(inRoot(path))) return undefined;
    if (!path.endsWith(".md")) return "any";
    const text = readFileSync(inRoot(path), "utf8").replace(/^```.*?^```$/gms, "");
    const slugs = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
      heading
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
        .replaceAll(" ", "-"),
    );
    return new Set(slugs);
  };
  const { files }: { files: readonly string[] } = JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
  const always = ["README.md", "LICENSE", "package.json"];
  const isPacked = (path: string): boolean =>
    [...always, ...files].some(
      (entry) => path === entry || path.startsWith(`${entry.replace(/\*.*/, "")}/`.replace("//", "/")),
    );
  const pages = [...documentationPages(), "CHANGELOG.md"];
  const others = ["bench/README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].filter((path) =>
    existsSync(inRoot(path)),
  );

  for (const page of [...pages, ...others]) {
    it(`of ${page} lead to files that are there, of the package if it is in the package`, () => {
      const text = readFileSync(inRoot(page), "utf8")
        .replace(/^```.*?^```$/gms, "")
        .replace(/`[^`\n]*`/g, "");
      const links = [...text.matchAll(/\]\(([^()\s]+)\)/g)].map(([, link = ""]) => link);
      const known = (path: string) => (pages.includes(page) && !isPacked(path) ? undefined : anchorsOf(path));
      assert.deepEqual(brokenLinks(page, links, known), []);
    });
  }
});
