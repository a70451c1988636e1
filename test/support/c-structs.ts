/** Structs and macros as the C headers of the system have them, by programs that are compiled here. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "./tool.js";

const PACKAGES = "gcc libc6-dev linux-libc-dev";

/** A member of a C struct: offset and size in bytes. */
export interface StructMember {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/** The members of `struct tag` of a system header, all of them, in their order. */
export function structMembers(
  folder: string,
  header: string,
  members: readonly string[],
  struct: string,
): StructMember[] {
  const source = join(folder, "members.c");
  const program = join(folder, "members");
  writeFileSync(
    source,
    `#include <stddef.h>
     #include <stdio.h>
     #include <${header}>
     #define MEMBER(name) printf("%s %zu %zu\\n", #name, offsetof(${struct}, name), sizeof ((${struct} *)0)->name);
     int main(void) { ${members.map((name) => `MEMBER(${name})`).join(" ")}
       printf("= 0 %zu\\n", sizeof (${struct})); return 0; }`,
  );
  runTool(PACKAGES, "cc", ["-Wall", "-Werror", "-o", program, source]);
  return runTool(PACKAGES, program, [])
    .trim()
    .split("\n")
    .map((line) => {
      const [name = "", offset, size] = line.split(" ");
      return { name, offset: Number(offset), size: Number(size) };
    });
}

/** The header after the preprocessor, without its line marks. */
export function preprocessed(header: string, folder: string): string {
  const source = join(folder, "include.c");
  writeFileSync(source, `#include <${header}>\n`);
  return runTool(PACKAGES, "cc", ["-E", "-P", source]);
}

/** The macros of a header that are defined as integers. */
export function macros(header: string, folder: string, pattern: RegExp): Map<string, number> {
  const source = join(folder, "macros.c");
  const program = join(folder, "macros");
  writeFileSync(source, `#include <${header}>\n`);
  const names = [...runTool(PACKAGES, "cc", ["-E", "-dM", source]).matchAll(/^#define (\w+) /gm)]
    .map(([, name = ""]) => name)
    .filter((name) => pattern.test(name));
  writeFileSync(
    source,
    `#include <stdio.h>
     #include <${header}>
     int main(void) { ${names.map((name) => `printf("%s %llu\\n", "${name}", (unsigned long long)(${name}));`).join(" ")} return 0; }`,
  );
  runTool(PACKAGES, "cc", ["-Wall", "-Werror", "-o", program, source]);
  const lines = runTool(PACKAGES, program, []).trim().split("\n");
  return new Map(
    lines.map((line): [string, number] => {
      const [name = "", value] = line.split(" ");
      return [name, Number(value)];
    }),
  );
}

/** The names of the members of `struct tag` in preprocessed text; bit fields and nested structs are not expected. */
export function memberNames(text: string, opening: RegExp): string[] {
  const found = opening.exec(text);
  if (found === null) throw new Error(`no ${opening} in the header`);
  const start = found.index + found[0].length;
  const body = text.slice(start, text.indexOf("}", start));
  return [...body.matchAll(/(\w+)(?:\s*\[[^\]]*\])?\s*[;,]/g)].map(([, name = ""]) => name);
}

/** All members of `struct setup_header`, at their offsets in the file and in boot_params. */
export function setupHeaderMembers(folder: string): StructMember[] {
  const header = "asm/bootparam.h";
  const names = memberNames(preprocessed(header, folder), /struct setup_header\s*\{/);
  return structMembers(
    folder,
    header,
    names.map((name) => `hdr.${name}`),
    "struct boot_params",
  )
    .filter(({ name }) => name !== "=")
    .map(({ name, offset, size }) => ({ name: name.replace("hdr.", ""), offset, size }));
}
