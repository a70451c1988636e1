/** `directboot completion SHELL`: a script that completes commands, options and their words. */
import { type Command, type OptionTable, optionsOf, UsageError } from "./options.js";

type Commands = Readonly<Record<string, Command>>;

/** The words that an option takes; undefined for a file or free text. */
function wordsOf(value: string | undefined): readonly string[] | undefined {
  return value?.includes("|") === true ? value.split("|") : undefined;
}

const names = (options: OptionTable): string[] => Object.keys(options).map((name) => `--${name}`);

/** The words of options, as branches of a shell's `case`: `command/--option) …`. */
function branches(commands: Commands, branch: (pattern: string, words: readonly string[]) => string): string {
  const found = Object.entries(commands).flatMap(([command, { options }]) =>
    Object.entries(options).flatMap(([name, { value }]) => {
      const words = wordsOf(value);
      return words === undefined ? [] : [branch(`${command}/--${name}`, words)];
    }),
  );
  return found.join("\n");
}

function bash(commands: Commands): string {
  const lists = Object.entries(commands).map(
    ([command, each]) => `    ${command}) words="${names(optionsOf(each)).join(" ")}" ;;`,
  );
  return `_directboot() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} words=
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "${[...Object.keys(commands), "--help", "--version"].join(" ")}" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}/$before" in
${branches(commands, (pattern, words) => `    ${pattern}) COMPREPLY=($(compgen -W "${words.join(" ")}" -- "$current")); return ;;`)}
  esac
  # Anything else than an option is a file.
  case "$current" in -*) ;; *) COMPREPLY=(); return ;; esac
  case "\${COMP_WORDS[1]}" in
${lists.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _directboot directboot
`;
}

/** A text in single quotes, as all three shells take it. */
const quoted = (text: string): string => `'${text.replaceAll("'", "")}'`;

function zsh(commands: Commands): string {
  const lists = Object.entries(commands).map(([command, each]) => {
    const specs = Object.entries(optionsOf(each)).map(([name, { help, value, multiple = false }]) => {
      const text = help.replaceAll(/[[\]:\\]/g, (character) => `\\${character}`);
      const words = wordsOf(value);
      const action =
        value === undefined
          ? ""
          : `:${value.replaceAll(":", "\\:")}:${words === undefined ? "_files" : `(${words.join(" ")})`}`;
      return quoted(`${multiple ? "*" : ""}--${name}[${text}]${action}`);
    });
    return `    ${command}) _arguments ${[...specs, quoted("*:file:_files")].join(" ")} ;;`;
  });
  const described = Object.entries(commands).map(([name, { summary }]) => quoted(`${name}:${summary}`));
  return `#compdef directboot
_directboot() {
  if (( CURRENT == 2 )); then
    local -a commands=(${described.join(" ")})
    _describe command commands
    return
  fi
  local command=\${words[2]}
  shift words; (( CURRENT-- ))
  case "$command" in
${lists.join("\n")}
  esac
}
if [ "$funcstack[1]" = _directboot ]; then _directboot "$@"; else compdef _directboot directboot; fi
`;
}

function fish(commands: Commands): string {
  const lines = Object.entries(commands).flatMap(([command, each]) => [
    `complete -c directboot -n __fish_use_subcommand -f -a ${command} -d ${quoted(each.summary)}`,
    ...Object.entries(optionsOf(each)).map(([name, { help, short, value }]) => {
      const words = wordsOf(value);
      const takes =
        value === undefined ? "" : words === undefined ? " -r" : ` -x -a ${quoted(words.join(" "))}`;
      const letter = short === undefined ? "" : ` -s ${short}`;
      return `complete -c directboot -n '__fish_seen_subcommand_from ${command}' -l ${name}${letter}${takes} -d ${quoted(help)}`;
    }),
  ]);
  return `${lines.join("\n")}\n`;
}

const SHELLS: Readonly<Record<string, (commands: Commands) => string>> = { bash, zsh, fish };

/** The command, for the commands that it is one of. */
export function completionCommand(commands: () => Commands): Command {
  return {
    summary: "a script that completes commands and options in your shell",
    operands: "bash|zsh|fish",
    options: {},
    examples: [
      ["completion bash >> ~/.bashrc", "in every new bash"],
      ["completion fish > ~/.config/fish/completions/directboot.fish", "in fish"],
      ["completion zsh > ~/.zsh/_directboot", "in zsh, where ~/.zsh is in fpath"],
    ],
    run: ({ positionals: [shell = "", ...others] }) => {
      const script = Object.hasOwn(SHELLS, shell) && others.length === 0 ? SHELLS[shell] : undefined;
      if (script === undefined) throw new UsageError("completion takes one of bash, zsh, fish");
      process.stdout.write(script(commands()));
      return 0;
    },
  };
}
