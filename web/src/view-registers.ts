/** The registers, each to be unfolded to its bits. */
import type { GdtEntry, RegisterDescription } from "directboot/inspect";
import { code, el, section, table } from "./dom.js";

interface Group {
  readonly title: string;
  readonly has: (name: string) => boolean;
}

const X86_GROUPS: readonly Group[] = [
  { title: "Control", has: (name) => /^(cr\d|efer|rflags|eflags)$/.test(name) },
  { title: "Segments and descriptor tables", has: (name) => /^([c-gs]s|[gi]dtr|ldtr|tr)$/.test(name) },
  { title: "General", has: (name) => /^(r[a-z]{2}|r\d+|rip|e[a-z]{2})$/.test(name) },
  { title: "Memory types", has: (name) => /^(mtrr|pat)/.test(name) },
];
const ARM64_GROUPS: readonly Group[] = [
  { title: "General", has: (name) => /^(x\d+|pc|sp|cpsr|pstate)$/.test(name) },
  { title: "System", has: () => true },
];

/** The registers by group, in their order within it; what no group has comes last. */
function grouped(
  registers: readonly RegisterDescription[],
  groups: readonly Group[],
): [title: string, registers: RegisterDescription[]][] {
  const result = groups.map(({ title }): [string, RegisterDescription[]] => [title, []]);
  const other: RegisterDescription[] = [];
  for (const register of registers) {
    const index = groups.findIndex(({ has }) => has(register.name));
    (result[index]?.[1] ?? other).push(register);
  }
  return [...result, ["Other", other] satisfies [string, RegisterDescription[]]].filter(
    ([, { length }]) => length > 0,
  );
}

/** The fields that are not zero, in short. */
function summary({ fields }: RegisterDescription): string {
  return fields
    .filter(({ bits, value, name }) => value === "0x1" && !bits.includes(":") && name !== "reserved")
    .map(({ name }) => name)
    .join(" ");
}

function bitPicture({ value, fields }: RegisterDescription): HTMLElement | undefined {
  if (!/^0x[0-9a-f]+$/.test(value) || fields.length === 0) return undefined;
  const number = BigInt(value);
  const highest = fields.reduce((most, { bits }) => Math.max(most, Number(bits.split(":")[0])), 0);
  const width = number >= 1n << 32n || highest > 31 ? 64 : 32;
  const owner = new Map<number, number>();
  for (const [index, { bits }] of fields.entries()) {
    const [high = 0, low = high] = bits.split(":").map(Number);
    for (let at = low; at <= high; at++) owner.set(at, index);
  }
  const words = Array.from({ length: width / 32 }, (_, word) => {
    const top = width - 1 - word * 32;
    const cells = Array.from({ length: 32 }, (_, index) => {
      const at = top - index;
      const isSet = ((number >> BigInt(at)) & 1n) === 1n;
      const starts = owner.get(at) !== owner.get(at + 1) || index === 0;
      const classes = ["bit", isSet ? "one" : "zero", owner.has(at) ? "named" : "", starts ? "starts" : ""];
      return el("span", { class: classes.filter((name) => name !== "").join(" ") }, isSet ? "1" : "0");
    });
    return el(
      "div",
      { class: "word" },
      el("span", { class: "bit-number" }, String(top)),
      el("span", { class: "bits" }, ...cells),
      el("span", { class: "bit-number" }, String(top - 31)),
    );
  });
  // The table below says the same in words.
  return el("div", { class: "bit-picture", "aria-hidden": "true" }, ...words);
}

function registerItem(register: RegisterDescription): HTMLElement {
  const { title, value, role, source, fields } = register;
  const parts = new Set(fields.map(({ part }) => part));
  const head = [
    el("span", { class: "register-name" }, code(title)),
    el("span", { class: "register-value" }, code(value)),
    el("span", { class: "register-summary" }, summary(register)),
  ];
  const words =
    role === "" ? [] : [el("p", { class: "role" }, `${role.slice(0, 1).toUpperCase()}${role.slice(1)}.`)];
  const rows = fields.map((field) => [
    ...(parts.size > 1 ? [field.part] : []),
    code(field.bits),
    code(field.name),
    code(field.value),
    field.meaning,
  ]);
  const fieldTable =
    fields.length === 0
      ? []
      : [
          table(
            `Fields of ${title}`,
            [
              ...(parts.size > 1 ? [{ title: "Part" }] : []),
              { title: "Bits", kind: "code" as const },
              { title: "Field", kind: "code" as const },
              { title: "Value", kind: "code" as const },
              { title: "Meaning" },
            ],
            rows,
          ),
        ];
  return el(
    "details",
    { class: "register", "data-register": register.name },
    el("summary", {}, ...head),
    ...words,
    bitPicture(register),
    ...fieldTable,
    source === "" ? undefined : el("p", { class: "source" }, source),
  );
}

/** The section with all registers that are set. */
export function registerSection(registers: readonly RegisterDescription[], isArm64: boolean): HTMLElement {
  const groups = grouped(registers, isArm64 ? ARM64_GROUPS : X86_GROUPS);
  return section(
    "registers",
    "Registers",
    el("p", { class: "lead" }, "Registers that are not listed are zero. Open one to see it bit by bit."),
    ...groups.flatMap(([title, members]) => [
      el("h3", {}, title),
      el("div", { class: "registers" }, ...members.map(registerItem)),
    ]),
  );
}

/** The section with the GDT, entry by entry; undefined where there is none. */
export function gdtSection(
  entries: readonly GdtEntry[],
  registers: readonly RegisterDescription[],
): HTMLElement | undefined {
  if (entries.length === 0) return undefined;
  const items = entries.map(({ selector, value, meaning, fields }) => {
    const users = registers.filter(
      (register) =>
        register.fields.some(({ part }) => part === "selector") &&
        register.value.startsWith(`selector ${selector},`),
    );
    const names = users.map(({ title }) => title).join(", ");
    return registerItem({
      name: `gdt-${selector}`,
      title: selector,
      value: meaning,
      role: `the descriptor is ${value}${names === "" ? "" : `; loaded into ${names}`}`,
      source: "SDM 3A, 3.4.5 Segment Descriptors",
      fields: value === "0x0000000000000000" ? [] : fields.filter(({ part }) => part !== "selector"),
    });
  });
  return section(
    "gdt",
    "GDT",
    el(
      "p",
      { class: "lead" },
      "The segments that there are, by their selectors. Open one to see it bit by bit.",
    ),
    el("div", { class: "registers" }, ...items),
  );
}
