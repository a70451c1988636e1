// npm run docs: the site in build/site, made by TypeDoc from README.md, docs/ and the docstrings of src/. It is static, and
// works from any sub-path, from a folder, and without a network. typedoc.json holds the options; here is what they can't say:
// the pages' titles and files, the categories by rooms of src/, and the start page.
import { readFileSync } from "node:fs";
import { join, posix, relative } from "node:path";
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

/** The part of the start page behind README's first paragraph. */
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

/**
 * Makes the site. Gives its folder, and the warnings and errors of TypeDoc.
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
  const entries = publicEntries();
  const app = await Application.bootstrap({ entryPoints: [...entries.keys()], out }, [
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
    // Parts that scroll by themselves can be scrolled by the keyboard, too.
    page.contents = page.contents.replace(/<(pre|table)>/g, '<$1 tabindex="0">');
    if (page.url !== "index.html") return;
    page.contents = page.contents
      .replace("<body>", '<body class="start-page">')
      .replace("</p>", `</p>\n${WAYS_IN}`);
  });

  const project = await app.convert();
  if (project !== undefined) {
    app.validate(project);
    await app.generateOutputs(project);
  }
  return { out, problems };
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { out, problems } = await makeSite();
  if (problems.length > 0) {
    process.stderr.write(`${problems.length} problems\n`);
    process.exitCode = 1;
  } else process.stdout.write(`the site is in ${relative(process.cwd(), out)}\n`);
}
