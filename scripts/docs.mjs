// npm run docs: the site in build/site, made by TypeDoc from README.md, docs/ and the docstrings of src/. It is static, and
// works from any sub-path, from a folder, and without a network. typedoc.json holds the options; here is what they can't say:
// the pages' titles, files and order, and that a link to a source file leads to a page with its text.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Category of an API page by the room of src/ that it comes from. */
const ROOMS = {
  linux: "Loading kernels",
  plan: "Plans",
  memory: "Guest memory",
  importers: "Importers and registers",
  sources: "Byte sources",
  images: "Images",
  firmware: "Device trees",
  x86: "x86",
  arm64: "arm64",
  wasm: "Hot paths",
  base: "Errors and addresses",
  decoders: "Decoders",
  hosts: "v86",
  inspect: "Inspection",
};

/** Exports that have the name of an option or a notion: their names in a text mean that. */
const ALSO_OPTIONS = ["crc32", "decoders", "decompress", "hotPaths"];

/** Links to these are links to pages of the site, or to pictures, which are copied. */
const IS_PAGE_OR_PICTURE = /\.(?:md|svg|png)$/;

/** What stands on the start page behind README's first paragraph. */
const WAYS_IN = `<nav class="ways" aria-label="Documentation">${[
  ["guide/start.html", "Getting started", "From nothing to a loaded kernel"],
  ["guide/concepts.html", "Concepts", "Sources, plans, memory maps, guarantees"],
  ["guide/hosts.html", "Hosts", "Your emulator, v86, QEMU, hypervisors"],
  ["guide/formats.html", "Formats", "Images, compression, checks, defaults"],
  ["guide/performance.html", "Performance", "The fast paths, measured"],
  ["docs/options.html", "Options", "Each with an example"],
  ["docs/errors.html", "Errors", "Every code and its cure"],
  ["api/modules/directboot.html", "API reference", "Everything that is exported"],
]
  .map(([url, title, text]) => `<a href="${url}"><strong>${title}</strong>${text}</a>`)
  .join("\n")}</nav>`;

const escapeHtml = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Long names in tables may be broken behind "_" and "::", so that the other columns have room. */
function breakableCells(html) {
  return html.replace(/<td\b[^>]*>.*?<\/td>/gs, (cell) =>
    cell.replace(/<code>[^<]*<\/code>/g, (code) => code.replace(/_|::/g, "$&<wbr>")),
  );
}

/** The files that a link to `path` shows: itself, or those of a folder. */
function filesOf(path) {
  if (!statSync(join(root, path)).isDirectory()) return [path];
  return readdirSync(join(root, path), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => posix.relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** A page with the text of a source file, or of those of a folder. */
function sourcePage(path, toRoot) {
  const parts = filesOf(path).map((file) => {
    const text = escapeHtml(readFileSync(join(root, file), "utf8"));
    return `<h1><code>${escapeHtml(file)}</code></h1>\n<pre><code>${text}</code></pre>\n`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(path)} | directboot</title>
<link rel="stylesheet" href="${toRoot}assets/style.css">
<link rel="stylesheet" href="${toRoot}assets/custom.css">
</head>
<body class="source-page">
<script>document.documentElement.dataset.theme = localStorage.getItem("tsd-theme") || "os";</script>
<p><a href="${toRoot}index.html">directboot</a></p>
<main class="tsd-typography">
${parts.join("")}</main>
</body>
</html>
`;
}

/**
 * Makes the site. Gives its folder, the warnings and errors of TypeDoc, and the names of what is documented, by module.
 *
 * @param {{ out?: string, quiet?: boolean }} options
 */
export async function makeSite({ out = join(root, "build", "site"), quiet = false } = {}) {
  const {
    Application,
    Comment,
    CommentTag,
    Converter,
    JSX,
    KindRouter,
    LogLevel,
    PageEvent,
    ReflectionKind,
    TSConfigReader,
    TypeDocReader,
  } = await import("typedoc");
  const options = JSON.parse(readFileSync(join(root, "typedoc.json"), "utf8"));
  const entries = publicEntries();
  // Each page once, where the first pattern has it.
  const projectDocuments = [...new Set(options.projectDocuments.flatMap(expand))];
  const app = await Application.bootstrap({ entryPoints: [...entries.keys()], projectDocuments, out }, [
    new TypeDocReader(),
    new TSConfigReader(),
  ]);
  const problems = [];
  const log = app.logger.log.bind(app.logger);
  app.logger.log = (message, level) => {
    if (level === LogLevel.Warn || level === LogLevel.Error) problems.push(stripVTControlCharacters(message));
    if (!quiet || level === LogLevel.Error) log(message, level);
  };

  /** Pages of Markdown: their file in the repository, and in the site. */
  const pathOf = new Map();
  const siteFile = (path) =>
    path
      .replace(/^docs\/guide\//, "guide/")
      .replace(/\.md$/, "")
      .toLowerCase();
  app.renderer.defineRouter(
    "site",
    class extends KindRouter {
      getIdealBaseName(reflection) {
        const path = pathOf.get(reflection);
        return path === undefined ? `api/${super.getIdealBaseName(reflection)}` : siteFile(path);
      }
    },
  );

  const sources = new Set();
  /** Links to source files lead to pages with their text. */
  const linkSources = (content, path) => {
    for (const part of content) {
      if (part.kind !== "relative-link") continue;
      const target = posix.normalize(posix.join(posix.dirname(path), part.text.replace(/[?#].*$/, "")));
      if (IS_PAGE_OR_PICTURE.test(target)) continue;
      if (target.startsWith("..") || !existsSync(join(root, target))) {
        app.logger.warn(`${path}: there is no ${part.text}`);
        continue;
      }
      const file = target.replace(/\/$/, "");
      sources.add(file);
      part.target = undefined;
      const page = path === "README.md" ? "index" : siteFile(path);
      part.text = posix.relative(posix.dirname(page), `source/${file}.html`);
    }
  };

  /** Names of what is exported, in code spans, lead to the reference. */
  const linkNames = (content, project) => {
    const named = new Map(
      (project.children ?? [])
        .flatMap((module) => module.children ?? [])
        .filter(({ name }) => !ALSO_OPTIONS.includes(name))
        .map((child) => [child.name, child]),
    );
    for (const [index, part] of content.entries()) {
      const [, name = "", member] = /^`(\w+)(?:\.(\w+))?`$/.exec(part.text) ?? [];
      const owner = part.kind === "code" ? named.get(name) : undefined;
      const target = member === undefined ? owner : owner?.getChildByName?.([member]);
      if (target === undefined) continue;
      content[index] = { kind: "inline-tag", tag: "@linkcode", text: part.text.slice(1, -1), target };
    }
  };

  const categorize = (reflection, name) => {
    reflection.comment ??= new Comment();
    reflection.comment.blockTags.push(new CommentTag("@category", [{ kind: "text", text: name }]));
  };

  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const file = document.project.files.getReflectionPath(document);
    const path = posix.relative(root, file);
    pathOf.set(document, path);
    const title = /^# (.+)$/m.exec(readFileSync(file, "utf8"))?.[1];
    if (title !== undefined) document.name = title.replaceAll("`", "");
    categorize(
      document,
      path.startsWith("docs/guide/") ? "Guide" : path.startsWith("docs/") ? "Reference" : "Project",
    );
    linkSources(document.content, path);
  });
  app.converter.on(
    Converter.EVENT_RESOLVE_BEGIN,
    (context) => {
      const { project } = context;
      for (const module of project.children ?? []) {
        if (!module.kindOf(ReflectionKind.Module)) continue;
        module.name = entries.get(
          posix.relative(root, project.getSymbolIdFromReflection(module)?.fileName ?? ""),
        );
        categorize(module, "API");
        for (const child of module.children ?? []) {
          const file = project.getSymbolIdFromReflection(child)?.fileName ?? "";
          const room = /src\/([^/]+)\//.exec(file)?.[1];
          if (ROOMS[room] !== undefined) categorize(child, ROOMS[room]);
        }
      }
    },
    // Before TypeDoc's own plugins, which read the tags.
    10_000,
  );
  // After the plugin that reads README.md.
  app.converter.on(
    Converter.EVENT_RESOLVE_BEGIN,
    ({ project }) => {
      linkSources(project.readme ?? [], "README.md");
      linkNames(project.readme ?? [], project);
      for (const document of project.documents ?? []) linkNames(document.content, project);
    },
    -10_000,
  );

  // The guide and the reference are open in the menu until the reader closes them.
  app.renderer.hooks.on("head.end", () =>
    JSX.createElement(
      "script",
      null,
      JSX.createElement(JSX.Raw, {
        html: `for (const key of ["Guide", "Reference", "API"]) localStorage.getItem("tsd-accordion-" + key) ?? localStorage.setItem("tsd-accordion-" + key, "true");`,
      }),
    ),
  );
  app.renderer.on(PageEvent.END, (page) => {
    if (page.contents === undefined) return;
    // What scrolls by itself can be scrolled by the keyboard, too.
    page.contents = breakableCells(page.contents).replace(/<(pre|table)>/g, '<$1 tabindex="0">');
    if (page.url !== "index.html") return;
    page.contents = page.contents
      .replace("<body>", '<body class="start-page">')
      .replace("</p>", `</p>\n${WAYS_IN}`);
  });

  const project = await app.convert();
  if (project !== undefined) {
    app.validate(project);
    await app.generateOutputs(project);
    for (const path of sources) {
      const page = join(out, "source", `${path}.html`);
      mkdirSync(dirname(page), { recursive: true });
      const toRoot = `${posix.relative(posix.dirname(`source/${path}.html`), "")}/`;
      writeFileSync(page, sourcePage(path, toRoot));
    }
  }
  return {
    out,
    problems,
    names: Object.fromEntries(
      (project?.children ?? []).map((module) => [
        module.name,
        (module.children ?? []).map(({ name }) => name),
      ]),
    ),
  };
}

/** The source files of the package's entries of code, and what they are imported as. The others are the .wasm files. */
function publicEntries() {
  const { name, exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return new Map(
    Object.entries(exports)
      .filter(([, target]) => target.types !== undefined && target.default.endsWith(".js"))
      .map(([entry, { types }]) => [
        types.replace(/^\.\/dist\/types\//, "src/").replace(/\.d\.ts$/, ".ts"),
        posix.join(name, entry),
      ]),
  );
}

/** The files of a pattern with at most one `*`, in its last part, sorted. */
function expand(pattern) {
  const folder = posix.dirname(pattern);
  const last = posix.basename(pattern);
  if (!existsSync(join(root, folder))) return [];
  const [before, after] = last.split("*");
  return readdirSync(join(root, folder))
    .filter((name) => (after === undefined ? name === last : name.startsWith(before) && name.endsWith(after)))
    .sort()
    .map((name) => posix.join(folder, name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { out, problems } = await makeSite();
  if (problems.length > 0) {
    process.stderr.write(`${problems.length} problems\n`);
    process.exitCode = 1;
  } else process.stdout.write(`the site is in ${relative(process.cwd(), out)}\n`);
}
