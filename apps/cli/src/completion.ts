/** @file Shell completion, written from the commands themselves so that it cannot go stale. */
import type { Command, Option } from 'commander';
import { examples, oneOf } from './options.ts';

interface Node {
  /** Words from the program's name, as `data show`. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly about: string }[];
  readonly options: readonly { readonly flag: string; readonly about: string; readonly values: readonly string[]; readonly takesValue: boolean }[];
}

export function completionCommand(program: Command): void {
  program
    .command('completion')
    .description('a completion script for your shell, on standard output')
    .argument('<shell>', 'bash, zsh or fish', oneOf('bash', 'zsh', 'fish'))
    .addHelpText('after', examples('trimpi completion bash > ~/.local/share/bash-completion/completions/trimpi', 'trimpi completion zsh > "${fpath[1]}/_trimpi"', 'trimpi completion fish > ~/.config/fish/completions/trimpi.fish'))
    .action((shell: 'bash' | 'zsh' | 'fish') => console.log(completionScript(program, shell)));
}

export function completionScript(program: Command, shell: 'bash' | 'zsh' | 'fish'): string {
  const nodes = walk(program, '');
  switch (shell) {
    case 'bash':
      return bash(nodes);
    case 'zsh':
      return zsh(nodes);
    case 'fish':
      return fish(nodes);
    default:
      return shell satisfies never;
  }
}

function walk(command: Command, path: string): Node[] {
  const options = command.createHelp().visibleOptions(command).filter((o) => o.long !== undefined && o.long !== null);
  const node: Node = {
    path,
    commands: command.commands.map((c) => ({ name: c.name(), about: c.description() })),
    options: options.map((o) => ({ flag: o.long!, about: o.description, values: valuesOf(o), takesValue: o.required || o.optional })),
  };
  return [node, ...command.commands.flatMap((c) => walk(c, path === '' ? c.name() : `${path} ${c.name()}`))];
}

/** The words an option takes: a parser of words names them in its refusal. */
function valuesOf(option: Option): string[] {
  if (option.parseArg === undefined || /--(image|prompt|system)$/.test(option.long ?? '')) return [];
  try {
    option.parseArg('', undefined);
  } catch (error) {
    const words = /^Allowed are ([\w, +-]+)\./.exec(error instanceof Error ? error.message : '')?.[1];
    return words?.split(', ') ?? [];
  }
  return [];
}

const words = (node: Node): string => [...node.commands.map((c) => c.name), ...node.options.map((o) => o.flag)].join(' ');
const zshQuote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
/** A word and what it is, for `_describe`. */
const entry = (name: string, about: string): string => zshQuote(`${name.replaceAll(':', '\\:')}:${about}`);
const fishQuote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const shells = ['bash', 'zsh', 'fish'];

function bash(nodes: readonly Node[]): string {
  const paths = nodes.filter((n) => n.path !== '').map((n) => `"${n.path}"`).join('|');
  return `# bash completion of trimpi
_trimpi() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" path="" try i
  for ((i = 1; i < COMP_CWORD; i++)); do
    try="\${path:+$path }\${COMP_WORDS[i]}"
    case "$try" in ${paths}) path="$try" ;; esac
  done
  case "$path $prev" in
${nodes.flatMap((n) => n.options.filter((o) => o.takesValue).map((o) => `    "${n.path} ${o.flag}") ${o.values.length > 0 ? `COMPREPLY=($(compgen -W "${o.values.join(' ')}" -- "$cur"))` : 'COMPREPLY=($(compgen -f -- "$cur"))'}; return ;;`)).join('\n')}
  esac
  case "$path" in
${nodes.map((n) => `    "${n.path}") COMPREPLY=($(compgen -W "${n.path === 'completion' ? shells.join(' ') : words(n)}" -- "$cur")) ;;`).join('\n')}
  esac
  if [[ \${#COMPREPLY[@]} -eq 0 && "$cur" != -* ]]; then COMPREPLY=($(compgen -f -- "$cur")); fi
}
complete -o filenames -F _trimpi trimpi`;
}

function zsh(nodes: readonly Node[]): string {
  const paths = nodes.filter((n) => n.path !== '').map((n) => `"${n.path}"`).join('|');
  return `#compdef trimpi
_trimpi() {
  local path_="" try prev="\${words[CURRENT-1]}" i
  local -a found
  for ((i = 2; i < CURRENT; i++)); do
    try="\${path_:+$path_ }\${words[i]}"
    case "$try" in (${paths}) path_="$try" ;; esac
  done
  case "$path_ $prev" in
${nodes.flatMap((n) => n.options.filter((o) => o.takesValue).map((o) => `    ("${n.path} ${o.flag}") ${o.values.length > 0 ? `compadd -- ${o.values.join(' ')}` : '_files'}; return ;;`)).join('\n')}
  esac
  case "$path_" in
${nodes.map((n) => `    ("${n.path}") found=(${[...(n.path === 'completion' ? shells.map((s) => entry(s, `for ${s}`)) : []), ...n.commands.map((c) => entry(c.name, c.about)), ...n.options.map((o) => entry(o.flag, o.about))].join(' ')}) ;;`).join('\n')}
  esac
  _describe trimpi found
  [[ "\${words[CURRENT]}" == -* ]] || _files
}
if [ "$funcstack[1]" = "_trimpi" ]; then _trimpi "$@"; else compdef _trimpi trimpi; fi`;
}

function fish(nodes: readonly Node[]): string {
  const lines = nodes.flatMap((n) => {
    const when = `-n ${fishQuote(`__trimpi_at ${n.path}`.trim())}`;
    return [
      ...n.commands.map((c) => `complete -c trimpi ${when} -f -a ${c.name} -d ${fishQuote(c.about)}`),
      ...(n.path === 'completion' ? [`complete -c trimpi ${when} -f -a ${fishQuote(shells.join(' '))}`] : []),
      ...n.options.map((o) => `complete -c trimpi ${when} -l ${o.flag.slice(2)} -d ${fishQuote(o.about)}${o.takesValue ? (o.values.length > 0 ? ` -x -a ${fishQuote(o.values.join(' '))}` : ' -r') : ''}`),
    ];
  });
  const paths = nodes.filter((n) => n.path !== '').map((n) => fishQuote(n.path)).join(' ');
  return `# fish completion of trimpi
function __trimpi_at
  set -l path ''
  for word in (commandline -opc)[2..-1]
    set -l try (string trim -- "$path $word")
    if contains -- $try ${paths}
      set path $try
    end
  end
  test "$path" = "$argv"
end
${lines.join('\n')}`;
}
