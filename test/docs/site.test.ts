/** `npm run docs`: the site is made without a warning, whole, and every link in it and in the Markdown pages leads somewhere. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join, posix } from "node:path";
import { after, before, describe, it } from "node:test";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import ts from "typescript";
import { inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { documentationPages } from "./blocks.js";

interface Site {
  readonly problems: readonly string[];
  readonly names: Readonly<Record<string, readonly string[]>>;
}

const folder = join(tempFolder(), "site");
const profile = tempFolder();
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
const script = new URL(`file://${inRoot("scripts/docs.mjs")}`);
const { makeSite }: { makeSite: (options: { out: string; quiet: boolean }) => Promise<Site> } = await import(
  script.href
);

function filesUnder(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) =>
    statSync(join(path, name)).isFile(),
  );
}

function decodeEntities(text: string): string {
  return text
    .replace(/&#(x?)([0-9a-f]+);/gi, (_, isHex: string, code: string) =>
      String.fromCodePoint(Number.parseInt(code, isHex === "" ? 10 : 16)),
    )
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&");
}

/** Values of an attribute in a page, scripts and comments left out. */
function attributes(html: string, name: string): string[] {
  const markup = html.replace(/<script\b[^>]*>[\s\S]*?<\/script>/g, (tag) =>
    tag.slice(0, tag.indexOf(">") + 1),
  );
  return [...markup.matchAll(new RegExp(`<[a-z][^>]*?\\s${name}="([^"]*)"`, "gi"))].map(([, value = ""]) =>
    decodeEntities(value),
  );
}

const isElsewhere = (url: string): boolean => /^(?:[a-z][a-z0-9+.-]*:|\/\/)/i.test(url);

/** Links of a page that lead nowhere; `exists` and `idsOf` know the other pages. */
function brokenLinks(
  page: string,
  links: readonly string[],
  exists: (path: string) => boolean,
  idsOf: (path: string) => ReadonlySet<string> | undefined,
): string[] {
  return links.filter((link) => {
    if (isElsewhere(link)) return false;
    const [path = "", anchor = ""] = link.split("#");
    const target =
      path === ""
        ? page
        : posix.normalize(posix.join(posix.dirname(page), decodeURI(path.replace(/\?.*$/, ""))));
    if (link.startsWith("/") || target.startsWith("..") || !exists(target)) return true;
    return anchor !== "" && idsOf(target)?.has(decodeURIComponent(anchor)) === false;
  });
}

/** What the package's entries export, by the entry's name: asked of the compiler, from the .d.ts files. */
function publicNames(): Map<string, string[]> {
  const manifest: { name: string; exports: Record<string, string | { types?: string; default: string }> } =
    JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
  const entries = Object.entries(manifest.exports).flatMap(([entry, target]) => {
    // The entries of the .wasm files have no names.
    const isCode = typeof target === "object" && target.default.endsWith(".js");
    const types = isCode ? target.types : undefined;
    return types === undefined
      ? []
      : [{ name: posix.join(manifest.name, entry), file: inRoot(types.slice(2)) }];
  });
  const program = ts.createProgram(
    entries.map(({ file }) => file),
    {
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      skipLibCheck: true,
    },
  );
  const checker = program.getTypeChecker();
  return new Map(
    entries.map(({ name, file }) => {
      const source = program.getSourceFile(file);
      assert.ok(source !== undefined, `${file}: npm run build makes it`);
      const symbol = checker.getSymbolAtLocation(source);
      assert.ok(symbol !== undefined, `${file} exports nothing`);
      return [name, checker.getExportsOfModule(symbol).map((each) => each.getName())];
    }),
  );
}

describe("the site of npm run docs", () => {
  let site: Site;
  let files: readonly string[];
  let pages: ReadonlyMap<string, string>;
  before(async () => {
    site = await makeSite({ out: folder, quiet: true });
    files = filesUnder(folder);
    pages = new Map(
      files
        .filter((name) => name.endsWith(".html"))
        .map((name) => [name, readFileSync(join(folder, name), "utf8")]),
    );
  });

  it("is made without a warning of TypeDoc", () => assert.deepEqual(site.problems, []));

  it("has the guide, the pages of docs/, and the start page with the table of features", () => {
    for (const path of documentationPages().filter((name) => name.startsWith("docs/"))) {
      const name = path.replace(/^docs\/guide\//, "guide/").replace(/\.md$/, ".html");
      assert.ok(pages.has(name), name);
    }
    const start = pages.get("index.html") ?? "";
    assert.ok(start.includes("Beside other loaders") && start.includes("<table"));
  });

  it("documents every public export of the .d.ts files, and no other", () => {
    const exported = publicNames();
    assert.deepEqual(Object.keys(site.names).sort(), [...exported.keys()].sort());
    for (const [entry, names] of exported) {
      assert.deepEqual([...new Set(site.names[entry])].sort(), [...new Set(names)].sort(), entry);
      for (const name of names) {
        const file = `${entry.replaceAll("/", "_")}.${name}.html`;
        assert.ok(
          files.some((path) => path.startsWith("api/") && posix.basename(path) === file),
          `${entry} exports ${name}: there is no page ${file}`,
        );
      }
    }
  });

  it("has no broken link or anchor", () => {
    const ids = new Map([...pages].map(([name, html]) => [name, new Set(attributes(html, "id"))]));
    const known = new Set(files);
    for (const [name, html] of pages) {
      // The menu links of the toolbar are scripts' triggers.
      const links = [...attributes(html, "href"), ...attributes(html, "src")].filter((link) => link !== "#");
      const broken = brokenLinks(
        name,
        links,
        (path) => known.has(path),
        // Icons are made by a script when a page is opened from a folder.
        (path) => (path.endsWith(".html") ? ids.get(path) : undefined),
      );
      assert.deepEqual(broken, [], name);
    }
  });

  it("loads nothing from elsewhere, and is the same under any path", () => {
    for (const [name, html] of pages) {
      const loaded = [
        ...attributes(html, "src"),
        ...[...html.matchAll(/<link\b[^>]*\shref="([^"]*)"/g)].map(([, url = ""]) => url),
      ];
      assert.deepEqual(
        loaded.filter((url) => isElsewhere(url) || url.startsWith("/")),
        [],
        name,
      );
      assert.doesNotMatch(html, /<a\b[^>]*\shref="\//, name);
    }
    const styles = files.filter((name) => name.endsWith(".css"));
    for (const name of styles) {
      assert.doesNotMatch(readFileSync(join(folder, name), "utf8"), /url\((?!["']?data:)|@import/, name);
    }
  });
});

describe("the site in Chromium", () => {
  const server = createServer(({ url = "" }, response) => {
    const { pathname } = new URL(url, "http://localhost");
    const path = join(folder, pathname.replace(/^\/some\/where\//, ""));
    if (!pathname.startsWith("/some/where/") || !existsSync(path)) response.writeHead(404).end();
    else {
      const type = CONTENT_TYPES[posix.extname(pathname)] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type }).end(readFileSync(path));
    }
  });
  let context: BrowserContext;
  let origin = "";
  before(async () => {
    assert.ok(existsSync("/usr/bin/chromium"), "/usr/bin/chromium is missing: apt-get install chromium");
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    origin = `http://127.0.0.1:${address.port}/some/where/`;
    context = await chromium.launchPersistentContext(profile, {
      executablePath: "/usr/bin/chromium",
      headless: true,
      chromiumSandbox: false,
      args: [
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
      ],
    });
  });
  after(async () => {
    await context?.close();
    server.closeAllConnections();
    server.close();
  });

  const open = async (path: string): Promise<{ page: Page; problems: string[] }> => {
    const page = await context.newPage();
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("requestfailed", (request) => problems.push(request.url()));
    page.on("response", (response) => {
      if (response.status() >= 400 && !response.url().endsWith("/favicon.ico")) problems.push(response.url());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(origin) && !request.url().startsWith("data:"))
        problems.push(request.url());
    });
    await page.goto(`${origin}${path}`);
    await page.locator(".col-content").waitFor();
    return { page, problems };
  };

  for (const path of [
    "index.html",
    "guide/hosts.html",
    "docs/errors.html",
    "api/classes/directboot.GuestMemory.html",
  ]) {
    it(`shows ${path} from a sub-path, on a phone and on a desk, in the light and in the dark`, async () => {
      const { page, problems } = await open(path);
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        for (const width of [390, 1280]) {
          await page.setViewportSize({ width, height: 850 });
          const overhang = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
          assert.equal(overhang, 0, `${width} pixels wide: something overhangs`);
        }
        await page.addScriptTag({ path: inRoot("node_modules/axe-core/axe.min.js") });
        const violations = await page.evaluate(
          `axe.run(".col-content", { runOnly: ["color-contrast", "image-alt", "link-name", "scrollable-region-focusable"] })
            .then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ target, html }) => id + " " + target + " " + html.slice(0, 120))))`,
        );
        assert.deepEqual(violations, [], colorScheme);
      }
      assert.deepEqual(problems, []);
      await page.close();
    });
  }

  it("finds a function by its name", async () => {
    const { page } = await open("index.html");
    await page.locator("#tsd-search-trigger").click();
    await page.locator("#tsd-search-input").fill("loadLinuxSync");
    await page.locator("#tsd-search-results a", { hasText: "loadLinuxSync" }).first().click();
    await page.waitForURL(/loadLinuxSync\.html/);
    await page.close();
  });
});

describe("links of the Markdown pages", () => {
  /** Headings' anchors as GitHub makes them. */
  const anchorsOf = (path: string): Set<string> => {
    const text = readFileSync(inRoot(path), "utf8").replace(/^```.*?^```$/gms, "");
    const seen = new Map<string, number>();
    return new Set(
      [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => {
        const slug = heading
          .trim()
          .toLowerCase()
          .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
          .replaceAll(" ", "-");
        const count = seen.get(slug) ?? 0;
        seen.set(slug, count + 1);
        return count === 0 ? slug : `${slug}-${count}`;
      }),
    );
  };
  const others = ["bench/README.md", "CHANGELOG.md"];
  for (const page of [...documentationPages(), ...others]) {
    it(`of ${page} lead to files, and to headings that are there`, () => {
      const text = readFileSync(inRoot(page), "utf8")
        .replace(/^```.*?^```$/gms, "")
        .replace(/`[^`\n]*`/g, "");
      const links = [...text.matchAll(/\]\(([^()\s]+)\)/g)].map(([, link = ""]) => link);
      const broken = brokenLinks(
        page,
        links,
        (path) => existsSync(inRoot(path)),
        (path) => (path.endsWith(".md") ? anchorsOf(path) : undefined),
      );
      assert.deepEqual(broken, [], dirname(page));
    });
  }
});
