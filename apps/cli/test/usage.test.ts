import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { createProgram } from '../src/program.ts';
import { scratch, trimpi } from './helpers.ts';

const dir = scratch();
afterAll(() => dir.remove());
const out = dir.path('out');

/** Every command by its words. */
function all(command: Command = createProgram(), path: string[] = []): string[][] {
  return [path, ...command.commands.flatMap((c) => all(c, [...path, c.name()]))];
}

describe('wrong command lines exit with 2 and say what is right', () => {
  it.each([
    [['data', 'clevr-policy', '--polices', '3', '--out', out], '--polices', '--policies'],
    [['data', 'clevr-polcy', '--out', out], 'clevr-polcy', 'clevr-policy'],
    [['dta'], 'dta', 'data'],
    [['data', 'clevr-policy', '--tree', 'reachabel', '--out', out], '--tree', 'Did you mean reachable?'],
    [['data', 'clevr-policy', '--variant', 'x', '--out', out], '--variant', 't, m'],
    [['data', 'clevr-policy', '--n', '2,9', '--out', out], '--n', 'from 1 to 8'],
    [['data', 'clevr-policy', '--count', '1.5', '--out', out], '--count', 'whole number'],
    [['data', 'clevr-policy', '--style', 'compact', '--tree', 'rich', '--out', out], 'compact', 'reachable'],
    [['data', 'clevr-policy'], '--out', 'required'],
    [['data', 'gta-policy', '--tokens', '900', '--out', out], '--tokens', '--policy large'],
    [['data', 'export', '.', '--out', out, '--format', 'trl-grp'], '--format', 'Did you mean trl-grpo?'],
    [['data', 'show', '.'], 'holds no dataset', 'policy.md'],
    [['reproduce', '--scale', 'full', '--out', out], '--scale full', 'needs --base'],
    [['reproduce', '--bits', '4', '--out', out], '--bits is for --scale full', 'the scale is tiny'],
    [['reproduce', '--scale', 'huge', '--out', out], 'huge', 'tiny, small, full'],
    [['reproduce', '--rows', 'cot-sft+gpro', '--out', out], 'cot-sft+gpro', 'Did you mean cot-sft+grpo?'],
    [['reproduce', '--n', '7', '--out', out], '--n', 'from 2 to 6'],
    // Milliseconds of more do not fit a timer, which would fire at once.
    [['reproduce', '--minutes', '35792', '--out', out], '--minutes', 'from 1 to 35000'],
    [['pretrain', '--recipe', 'smal', '--out', out], 'smal', 'Did you mean small?'],
    [['bench', '--turns', '0'], '--turns', 'whole number'],
    [['generate', '--model', dir.path('none'), '--prompt', 'x'], '--model', 'config.json'],
    [['generate', '--model', '.', '--promt', 'x'], '--promt', '--prompt'],
    [['generate', '--model', '.', '--prompt', 'x', '--top-p', '0'], '--top-p', 'from'],
    [['export', '--model', '.', '--adapter', '.', '--to', 'saftensors', '--out', out], '--to', 'Did you mean safetensors?'],
    [['export', '--to', 'trl', '--model', '.', '--out', out], '--to trl', '--data'],
    [['export', '--to', 'peft', '--data', '.', '--out', out], '--to peft', '--adapter'],
    [['export', '--to', 'onnx', '--out', out], '--to onnx', '--model'],
    [['export', '--to', 'peft', '--bits', '4', '--model', '.', '--adapter', '.', '--out', out], '--bits', 'onnx'],
    [['export', '--to', 'onnx', '--bits', '5', '--model', '.', '--out', out], '--bits', '32, 16, 4'],
    [['serve', '--model', '.', '--port', '70000'], '--port', '65535'],
    [['serve', '--model', '.', '--adapter', 'a='], '--adapter', 'NAME=FOLDER'],
    [['train'], 'settings file', '--defaults'],
    [['eval', '.'], 'checkpoint', '--data'],
    [['demo', '--seed', '-1'], '--seed', 'from 0 to 4294967295'],
    [['completion', 'bsh'], 'bsh', 'Did you mean bash?'],
  ])('%j', async (args, named, right) => {
    const { code, stderr } = await trimpi(...args);
    expect(stderr).toContain(named);
    expect(stderr).toContain(right);
    expect(code).toBe(2);
    expect(existsSync(out)).toBe(false);
  });

  it('--json puts the error on stderr as JSON', async () => {
    const { code, stdout, stderr } = await trimpi('data', 'show', dir.path('none'), '--json');
    expect([code, stdout]).toEqual([2, '']);
    expect(JSON.parse(stderr)).toMatchObject({ exitCode: 2, error: expect.stringContaining('holds no dataset') });
  });

  it.each([
    [['data', 'clevr-policy', '--out', out, '--polices', '3', '--json'], /^unknown option '--polices'\n\(Did you mean --policies\?\)$/],
    [['data', 'gta-policy', '--out', out, '--count', 'many', '--json'], /^option '--count <n>' argument 'many' is invalid. Give a whole number from 0/],
    [['generate', '--model', '.', '--promt', 'x', '--json'], /^required option '--prompt <text>' not specified\n--promt is no option. Did you mean --prompt\?$/],
    [['eval', '--json'], /^missing required argument 'model'$/],
    [['dta', '--json'], /^unknown command 'dta'\n\(Did you mean data\?\)$/],
    [['data', '--json'], /^unknown option '--json'$/],
  ])('%j: a wrong option is JSON too, and nothing else', async (args, words) => {
    const { code, stdout, stderr } = await trimpi(...args);
    expect([code, stdout]).toEqual([2, '']);
    const said = JSON.parse(stderr) as { error: string; exitCode: number };
    expect(said.exitCode).toBe(2);
    expect(said.error).toMatch(words);
  });
});

describe('help', () => {
  it.each(all().filter((path) => path.length > 0 && path[0] !== 'help').map((path) => [path.join(' ')]))('of %s has examples that are command lines of it', async (path) => {
    const { code, stdout } = await trimpi(...path.split(' '), '--help');
    expect(code).toBe(0);
    const examples = [...stdout.matchAll(/^ {2}\$ (trimpi .*)$/gm)].map((m) => m[1]!);
    expect(examples.length).toBeGreaterThan(0);
    for (const line of examples) {
      expect(line.startsWith(`trimpi ${path}`)).toBe(true);
      const known = new Set(stdout.match(/--[a-z][\w-]*/g));
      // Options in an example of a group belong to the command it names.
      if (path !== 'data') for (const flag of line.match(/--[a-z][\w-]*/g) ?? []) expect(known).toContain(flag);
    }
  });
});

describe('completion scripts', () => {
  it.each(['bash', 'zsh', 'fish'])('%s: every command and option is there', async (shell) => {
    const { stdout } = await trimpi('completion', shell);
    const words = new Set(stdout.match(/[\w-]+/g));
    const visit = (command: Command): void => {
      for (const option of command.options) expect(words).toContain(shell === 'fish' ? option.long!.slice(2) : option.long!);
      for (const inner of command.commands) {
        expect(words).toContain(inner.name());
        visit(inner);
      }
    };
    for (const command of createProgram().commands) visit(command);
  });

  it('bash reads its own', async () => {
    const { stdout } = await trimpi('completion', 'bash');
    expect(spawnSync('bash', ['-n'], { input: stdout }).status).toBe(0);
    const done = spawnSync('bash', ['-c', `${stdout}\nCOMP_WORDS=(trimpi serve --mo); COMP_CWORD=2; _trimpi; echo "\${COMPREPLY[@]}"`]);
    expect(done.stdout.toString().trim()).toBe('--model');
    const rows = spawnSync('bash', ['-c', `${stdout}\nCOMP_WORDS=(trimpi reproduce --rows direct-sft+p); COMP_CWORD=3; _trimpi; echo "\${COMPREPLY[@]}"`]);
    expect(rows.stdout.toString().trim()).toBe('direct-sft+poro-grpo direct-sft+poro-dapo');
  });

  const installed = (shell: string) => spawnSync(shell, ['--version']).status === 0;
  /** A folder with the script under the name that the shell looks for, and a file to complete. */
  const place = async (shell: 'zsh' | 'fish', name: string): Promise<string> => {
    const folder = dir.path(shell);
    mkdirSync(folder);
    writeFileSync(`${folder}/${name}`, (await trimpi('completion', shell)).stdout);
    writeFileSync(`${folder}/settings.yaml`, '');
    return folder;
  };

  it('zsh completes with its own', async (context) => {
    if (!installed('zsh')) context.skip('zsh is not installed');
    const folder = await place('zsh', '_trimpi');
    expect(spawnSync('zsh', ['-n', `${folder}/_trimpi`]).status).toBe(0);
    // A shell in a terminal of its own: each line gets a Tab, and a `trimpi` that says what it was called with.
    writeFileSync(`${folder}/.zshrc`, "fpath=($ZDOTDIR $fpath)\nautoload -Uz compinit\ncompinit -D -u\ntrimpi() { print -r -- \"<$*>\" }\nPS1='READY> '\n");
    writeFileSync(`${folder}/type.zsh`, `zmodload zsh/zpty
zpty shell zsh -d -i
zpty -r shell out '*READY> *'
for line in "$@"; do
  zpty -w -n shell "$line"$'\\t\\n'
  zpty -r shell out '*<*>*READY> *'
  print -r -- "\${\${out#*<}%%>*}"
done
zpty -d shell
`);
    const typed = {
      'trimpi da': 'data',
      'trimpi data sh': 'data show',
      'trimpi serve --mo': 'serve --model',
      'trimpi data show --split te': 'data show --split test',
      // Two rows begin so: what they share is filled in.
      'trimpi reproduce --rows direct-sft+p': 'reproduce --rows direct-sft+poro-',
      'trimpi completion z': 'completion zsh',
      'trimpi train sett': 'train settings.yaml',
      'trimpi eval --completions sett': 'eval --completions settings.yaml',
    };
    const done = spawnSync('zsh', ['-f', 'type.zsh', ...Object.keys(typed)], { cwd: folder, env: { ...process.env, ZDOTDIR: folder, TERM: 'dumb' }, timeout: 120_000 });
    expect(done.stdout.toString().trim().split('\n').map((line) => line.trim()), done.stderr.toString()).toEqual(Object.values(typed));
  });

  it('fish completes with its own', async (context) => {
    if (!installed('fish')) context.skip('fish is not installed');
    const folder = await place('fish', 'trimpi.fish');
    expect(spawnSync('fish', ['--no-execute', `${folder}/trimpi.fish`]).status).toBe(0);
    const complete = (line: string): string[] => {
      const done = spawnSync('fish', ['--no-config', '-c', 'source trimpi.fish; complete -C "$argv[1]"', line], { cwd: folder, env: { ...process.env, HOME: folder }, timeout: 120_000 });
      expect(done.stderr.toString()).toBe('');
      // Behind each candidate stands what it is.
      return done.stdout.toString().trim().split('\n').map((found) => found.split('\t')[0]!);
    };
    expect(complete('trimpi da')).toEqual(['data']);
    expect(complete('trimpi data ')).toEqual(['check', 'check-policy', 'clevr-policy', 'export', 'gta-policy', 'show']);
    expect(complete('trimpi serve --mo')).toEqual(['--model']);
    expect(complete('trimpi data show --split te')).toEqual(['test']);
    expect(complete('trimpi reproduce --rows direct-sft+p')).toEqual(['direct-sft+poro-dapo', 'direct-sft+poro-grpo']);
    expect(complete('trimpi completion ')).toEqual(['bash', 'fish', 'zsh']);
    expect(complete('trimpi train sett')).toEqual(['settings.yaml']);
    expect(complete('trimpi eval --completions sett')).toEqual(['settings.yaml']);
    // An option of one command is not one of another.
    expect(complete('trimpi doctor --mo')).toEqual(['']);
  });
});

it('--version is the package\'s', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  expect((await trimpi('--version')).stdout.trim()).toBe(version);
});

describe('README', () => {
  it('has every command, and every option it writes down exists', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const flags = (command: Command): string[] => [...command.options.map((o) => o.long ?? ''), ...command.commands.flatMap(flags)];
    const known = new Set([...flags(createProgram()), '--help', '--global', '--silent']);
    for (const path of all().filter((p) => p.length > 0)) expect(readme).toContain(path.join(' '));
    for (const flag of readme.match(/(?<=[ `])--[a-z][\w-]*/g) ?? []) expect(known).toContain(flag);
  });
});
