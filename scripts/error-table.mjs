// npm run docs:errors: writes docs/errors.md from the tables of src/base/. A test compares the two.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export function errorTable(codes) {
  const rows = Object.entries(codes).map(([name, { openvmm, meaning, cure, reserved }]) => {
    const upstream = openvmm === undefined ? "" : `\`${openvmm}\``;
    return `| \`${name}\` | ${upstream}${reserved === true ? " (reserved)" : ""} | ${meaning} | ${cure} |`;
  });
  return `# Errors

Made by \`npm run docs:errors\` from the tables in \`src/base/\`; a test compares the two.

Everything that can be wrong is thrown as a \`DirectBootError\` with one of these codes; an argument of a wrong type is
a \`TypeError\`. The message names the value and the limit, and ends with the cure; \`details\` and \`cure\` are its two
halves, \`cause\` is the error underneath, where there is one. "Upstream" is the variant of OpenVMM's loader that a code
answers to; empty where upstream panics, wraps or has no such check. Reserved codes are never thrown: upstream
declares the variant but never raises it, it only wraps another, whose own code is thrown here, or it is a failure to
seek, which directboot's sources, having no position, don't know.

| code | upstream | what went wrong | cure |
|---|---|---|---|
${rows.join("\n")}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { ERROR_CODES } = await import("../dist/index.js");
  writeFileSync(new URL("../docs/errors.md", import.meta.url), errorTable(ERROR_CODES));
}
