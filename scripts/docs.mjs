// npm run docs: the site in build/site, made by TypeDoc from README.md, docs/ and the docstrings of src/. It is static, and
// works from any sub-path, from a folder, and without a network. typedoc.json holds the options; here is what they can't say:
// the pages' titles and files, and the categories by rooms of src/.
import { readFileSync } from "node:fs";
import { join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";

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

/** Makes the site in a folder; gives the number of TypeDoc's warnings and errors, which it prints. */
export async function makeSite(out) {
  const {
    Application,
    Comment,
    CommentTag,
    Converter,
    JSX,
    KindRouter,
    PageEvent,
    ReflectionKind,
    TSConfigReader,
    TypeDocReader,
  } = await import("typedoc");
  const entries = publicEntries();
  const app = await Application.bootstrap({ entryPoints: [...entries.keys()], out, logLevel: "Warn" }, [
    new TypeDocReader(),
    new TSConfigReader(),
  ]);
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
    // Parts that scroll by themselves can be scrolled by the keyboard, too.
    page.contents = page.contents?.replace(/<(pre|table)>/g, '<$1 tabindex="0">');
  });

  const project = await app.convert();
  if (project !== undefined) {
    app.validate(project);
    await app.generateOutputs(project);
  }
  const { errorCount, warningCount, validationWarningCount } = app.logger;
  return errorCount + warningCount + validationWarningCount;
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
  const out = join(root, "build", "site");
  const problems = await makeSite(out);
  process.stdout.write(`the site is in ${relative(process.cwd(), out)}, with ${problems} problems\n`);
  if (problems > 0) process.exitCode = 1;
}
