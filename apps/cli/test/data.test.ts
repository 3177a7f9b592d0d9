import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { decodePng, parseScenes } from '@trimpi/datasets';
import { readDatasetFile } from '@trimpi/datasets/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PictureFiles } from '../src/data/pictures.ts';
import { openStored } from '../src/data/stored.ts';
import { scratch, trimpi } from './helpers.ts';

const dir = scratch();
afterAll(() => dir.remove());
const clevr = dir.path('clevr');
const gta = dir.path('gta');
const SMALL = ['--n', '2', '--policies', '2', '--count', '6', '--test-count', '2', '--seed', '1', '--width', '112', '--height', '84'];
const lines = (file: string) => readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);

beforeAll(async () => {
  expect((await trimpi('data', 'clevr-policy', '--variant', 'm', ...SMALL, '--out', clevr)).code).toBe(0);
  expect((await trimpi('data', 'gta-policy', '--count', '5', '--test-count', '3', '--seed', '1', '--out', gta)).code).toBe(0);
});

describe('trimpi data clevr-policy', () => {
  it('writes the files that it promises', () => {
    expect(readdirSync(clevr).toSorted()).toEqual(['contact-sheet.png', 'examples.jsonl', 'images', 'manifest.json', 'policies', 'policies.json', 'scenes.json']);
    const { policies } = JSON.parse(readFileSync(`${clevr}/policies.json`, 'utf8')) as { policies: { id: string; outcomes: number; tree: { kind: string } }[] };
    // The paper's tree has 4 outcomes at N = 2.
    expect(policies.map((p) => p.outcomes)).toEqual([4, 4]);
    const rows = lines(`${clevr}/examples.jsonl`);
    expect(rows.map((r) => r['split'])).toEqual([...Array.from({ length: 6 }, () => 'train'), 'test', 'test']);
    const scenes = parseScenes(JSON.parse(readFileSync(`${clevr}/scenes.json`, 'utf8')));
    expect(scenes.map((s) => s.image_filename)).toEqual(rows.map((r) => r['scene']));
    for (const row of rows) expect(decodePng(readFileSync(`${clevr}/${(row['images'] as string[])[0]!}`))).toMatchObject({ width: 112, height: 84 });
  });

  it('gives the same bytes again, and refuses a folder that is not empty unless told', async () => {
    const hash = () => createHash('sha256').update(readFileSync(`${clevr}/manifest.json`)).digest('hex');
    const before = hash();
    const refused = await trimpi('data', 'clevr-policy', '--variant', 'm', ...SMALL, '--out', clevr);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('--overwrite')]);
    const again = await trimpi('data', 'clevr-policy', '--variant', 'm', ...SMALL, '--out', clevr, '--overwrite', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ out: clevr, examples: 8 });
    expect(hash()).toBe(before);
  });

  it('leaves nothing behind when it is stopped', async () => {
    const out = dir.path('stopped', 'data');
    mkdirSync(dir.path('stopped'));
    setTimeout(() => process.emit('SIGINT'), 150);
    const { code, stderr } = await trimpi('data', 'clevr-policy', '--count', '5000', '--out', out);
    expect([code, stderr]).toEqual([130, expect.stringContaining('nothing half-written')]);
    expect(readdirSync(dir.path('stopped'))).toEqual([]);
  });
});

describe('--out', () => {
  it.each([['a new folder', [], false], ['an empty folder', [], true], ['--overwrite', ['--overwrite'], true]])('%s: the folder is filled, and one that is there stays the same', async (name, more, there) => {
    for (const [what, ...args] of [['written', 'data', 'gta-policy', '--count', '2', '--no-images'], ['exported', 'data', 'export', gta]] as const) {
      const out = dir.path(`out-${name}-${what}`, 'x');
      mkdirSync(there ? out : dir.path(`out-${name}-${what}`), { recursive: true });
      if (more.length > 0) writeFileSync(`${out}/old.txt`, 'old');
      const before = there ? statSync(out).ino : undefined;
      expect(await trimpi(...args, '--out', out, ...more)).toMatchObject({ code: 0 });
      const names = readdirSync(out);
      expect(names).toContain(what === 'written' ? 'manifest.json' : 'train.jsonl');
      expect(names.filter((file) => file.startsWith('.') || file === 'old.txt')).toEqual([]);
      expect(readdirSync(dir.path(`out-${name}-${what}`))).toEqual(['x']);
      if (before !== undefined) expect(statSync(out).ino).toBe(before);
    }
  });

  it.each([['data', 'gta-policy', '--count', '2'], ['data', 'export', gta], ['data', 'show', gta], ['export', '--to', 'trl', '--data', gta], ['demo'], ['pretrain'], ['reproduce']])('that is a file is refused before any work: %s %s', async (...args) => {
    const file = dir.path('a-file');
    writeFileSync(file, 'mine');
    for (const [out, why] of [[file, 'is a file'], [`${file}/in`, 'which is a file']] as const) {
      const { code, stderr } = await trimpi(...args, '--out', out);
      expect([code, stderr]).toEqual([2, expect.stringContaining(`UsageError: --out ${out} `)]);
      expect(stderr).toContain(why);
    }
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });
});

describe('trimpi data check', () => {
  it.each([['clevr-policy', clevr], ['gta-policy', gta]])('finds nothing in a %s dataset', async (kind, path) => {
    const { code, stdout } = await trimpi('data', 'check', path, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ kind, ok: true, findings: [] });
    expect(code).toBe(0);
  });

  it('names file and line of a wrong label and exits with 1', async () => {
    const copy = dir.path('wrong');
    cpSync(clevr, copy, { recursive: true });
    const rows = lines(`${copy}/examples.jsonl`);
    rows[3]!['answer'] = rows[3]!['answer'] === 'Case 0' ? 'Case 1' : 'Case 0';
    writeFileSync(`${copy}/examples.jsonl`, rows.map((r) => `${JSON.stringify(r)}\n`).join(''));
    const { code, stdout } = await trimpi('data', 'check', copy);
    expect(stdout).toMatch(/examples\.jsonl:4: error: the answer is Case \d, but the policy gives Case \d/);
    expect(code).toBe(1);
  });
});

describe('trimpi data show', () => {
  it.each([['clevr', clevr], ['gta', gta]])('%s: a contact sheet, and trees where there are any', async (kind, path) => {
    const out = dir.path(`show-${kind}`);
    const { code, stdout } = await trimpi('data', 'show', path, '--count', '3', '--split', 'test', '--out', out, '--json');
    const shown = JSON.parse(stdout) as { examples: { split: string }[]; contactSheet: string; trees: string[] };
    expect(code).toBe(0);
    expect(new Set(shown.examples.map((e) => e.split))).toEqual(new Set(['test']));
    const sheet = decodePng(readFileSync(shown.contactSheet));
    expect(new Set(sheet.rgb).size).toBeGreaterThan(30);
    expect(shown.trees.length > 0).toBe(kind === 'clevr');
    for (const tree of shown.trees) expect(readFileSync(tree, 'utf8')).toMatch(/^<svg [^]*>Case \d<[^]*<\/svg>\n$/);
  });

  it('does not disturb a later check', async () => {
    expect((await trimpi('data', 'show', clevr)).code).toBe(0);
    expect((await trimpi('data', 'check', clevr)).code).toBe(0);
  });

  it('answers an unknown policy with the nearest', async () => {
    const { policies } = JSON.parse(readFileSync(`${clevr}/policies.json`, 'utf8')) as { policies: { name: string }[] };
    const { code, stderr } = await trimpi('data', 'show', clevr, '--policy', `${policies[0]!.name}x`);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`Did you mean ${policies[0]!.name}?`)]);
  });
});

describe('trimpi data export', () => {
  it.each([
    ['plain', ['query', 'answer', 'images']],
    ['trl-grpo', ['prompt', 'solution', 'images']],
    ['trl-sft', ['messages', 'images']],
    ['easyr1', ['problem', 'answer', 'images']],
  ])('%s has its columns, as JSONL with image files and as Parquet with their bytes', async (format, columns) => {
    for (const file of ['jsonl', 'parquet']) {
      const out = dir.path(`export-${format}-${file}`);
      const { code, stdout } = await trimpi('data', 'export', clevr, '--format', format, '--file', file, '--out', out, '--json');
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ rows: 8, files: [`train.${file}`, `test.${file}`] });
      const rows = await readDatasetFile(`${out}/train.${file}`);
      expect(rows).toHaveLength(6);
      for (const column of columns) expect(rows[0]).toHaveProperty(column);
      const original = readFileSync(`${clevr}/${(lines(`${clevr}/examples.jsonl`)[0]!['images'] as string[])[0]!}`);
      const bytes = file === 'jsonl' ? readFileSync(`${out}/${rows[0]!.images[0]!.path}`) : rows[0]!.images[0]!.bytes!;
      expect(Buffer.from(decodePng(bytes).rgb).equals(Buffer.from(decodePng(original).rgb))).toBe(true);
      expect(existsSync(`${out}/images`)).toBe(file === 'jsonl');
    }
  });

  it('with the policy, every slot of a prompt has its image, those of the policy first', async () => {
    const out = dir.path('export-policy');
    expect((await trimpi('data', 'export', clevr, '--format', 'easyr1', '--with-policy', '--out', out)).code).toBe(0);
    const rows = lines(`${out}/train.jsonl`) as { problem: string; images: string[] }[];
    const texts = lines(`${clevr}/examples.jsonl`) as { query: string; images: string[] }[];
    rows.forEach(({ problem, images }, i) => {
      expect(problem.split('<image>')).toHaveLength(images.length + 1);
      expect(problem.endsWith(`<image>${texts[i]!.query}`)).toBe(true);
      expect(readFileSync(`${out}/${images.at(-1)!}`).equals(readFileSync(`${clevr}/${texts[i]!.images[0]!}`))).toBe(true);
    });
    // Variant M shows conditions as images.
    expect(Math.max(...rows.map((r) => r.images.length))).toBeGreaterThan(1);
  });
});

describe('a stored dataset', () => {
  const copy = (name: string): string => {
    cpSync(clevr, dir.path(name), { recursive: true });
    return dir.path(name);
  };

  it('decodes no picture until its pixels are read; a file is one object, known by its header', async () => {
    const data = copy('lazy');
    const whole = readFileSync(`${data}/images/${readdirSync(`${data}/images`)[0]!}`);
    for (const folder of ['images', 'policies']) for (const file of readdirSync(`${data}/${folder}`)) if (file.endsWith('.png')) writeFileSync(`${data}/${folder}/${file}`, readFileSync(`${data}/${folder}/${file}`).subarray(0, 40));
    const { examples } = await openStored(data);
    const [first] = examples;
    expect([first!.images[0]!.width, first!.images[0]!.height]).toEqual([112, 84]);
    expect(first!.images[0]).toBe(first!.images[0]);
    const shown = examples.filter((e) => e.policyId === first!.policyId).map((e) => e.policyParts.find((part) => part.type === 'image'));
    expect(new Set(shown).size).toBe(1);
    expect(() => first!.images[0]!.rgb).toThrow(/images\/CLEVR_\w+\.png cannot be decoded/);
    writeFileSync(`${data}/${(lines(`${data}/examples.jsonl`)[0]!['images'] as string[])[0]!}`, whole);
    expect(first!.images[0]!.rgb).toEqual(decodePng(whole).rgb);
  });

  it.each([
    ['manifest.json', '{"kind": "clevr', 'cannot be read'],
    ['manifest.json', 'null', 'holds no JSON object'],
    ['policies.json', '{"policies": 3}', 'is no list'],
    ['policies.json', undefined, 'cannot be read'],
    ['policies', undefined, 'is missing'],
  ])('with a broken %s (%s) is refused by its name', async (file, content, message) => {
    const data = copy(`broken-${file}-${content?.length}`);
    rmSync(`${data}/${file}`, { recursive: true });
    if (content !== undefined) writeFileSync(`${data}/${file}`, content);
    const { code, stderr } = await trimpi('data', 'show', data);
    expect([code, stderr]).toEqual([2, expect.stringMatching(new RegExp(`UsageError: \\S+/${file}:? .*${message}`))]);
    expect(stderr).not.toContain('    at ');
  });
});

describe('your own policy folder', () => {
  const own = dir.path('own');
  beforeAll(() => {
    mkdirSync(`${own}/images`, { recursive: true });
    cpSync(`${clevr}/images`, `${own}/images`, { recursive: true });
    const [a, b] = readdirSync(`${own}/images`);
    writeFileSync(`${own}/policy.md`, '# Shipping\n\nIf the box is red, answer A, else B.\n');
    writeFileSync(`${own}/examples.jsonl`, `{"images": ["images/${a!}"], "query": "Which?", "answer": "A"}\n{"images": ["images/${b!}"], "query": "And this one?", "answer": "B", "split": "test"}\n`);
  });

  it('is checked, shown and exported', async () => {
    const checked = await trimpi('data', 'check-policy', own);
    expect([checked.code, checked.stdout]).toEqual([0, expect.stringContaining('Shipping: 1 training example, 1 test example')]);
    expect((await trimpi('data', 'show', own, '--out', dir.path('own-show'))).code).toBe(0);
    const out = dir.path('own-export');
    expect((await trimpi('data', 'export', own, '--format', 'trl-sft', '--out', out)).code).toBe(0);
    expect(lines(`${out}/test.jsonl`)[0]).toMatchObject({ messages: [{ role: 'user', content: 'And this one?' }, { role: 'assistant', content: expect.stringContaining('\\boxed{B}') }] });
  });

  it('problems name file and line, and exit with 1', async () => {
    const bad = dir.path('bad');
    cpSync(own, bad, { recursive: true });
    writeFileSync(`${bad}/examples.jsonl`, '{"query": "a", "answer": "b"}\n{"query": "a"}\n{"images": ["none.png"], "query": "a", "answer": "b"}\n');
    const { code, stdout } = await trimpi('data', 'check-policy', bad);
    expect(code).toBe(1);
    expect(stdout).toMatch(/bad\/examples\.jsonl:2: error: answer is missing/);
    expect(stdout).toMatch(/bad\/examples\.jsonl:3: error: image "none.png" does not exist/);
    expect(await trimpi('data', 'export', bad, '--out', dir.path('bad-out'))).toMatchObject({ code: 2, stderr: expect.stringContaining('examples.jsonl:2') });
    expect(existsSync(dir.path('bad-out'))).toBe(false);
  });
});

const make = (name: string, files: Record<string, string | Uint8Array>): string => {
  const own = dir.path(name);
  mkdirSync(own);
  for (const [file, data] of Object.entries(files)) writeFileSync(`${own}/${file}`, data);
  writeFileSync(`${own}/policy.md`, '# Mine\n');
  return own;
};

describe('pictures of your own policy', () => {
  const images = fileURLToPath(new URL('../../../packages/model/test/fixtures/images/', import.meta.url));
  const jpeg = readFileSync(`${images}q85.jpg`);

  it('a JPEG is decoded, and is one by its content whatever its name', async () => {
    const own = make('jpeg', { 'a.png': jpeg, 'b.jpg': jpeg, 'examples.jsonl': '{"images": ["a.png", "b.jpg"], "query": "q", "answer": "a"}\n' });
    const { code, stdout } = await trimpi('data', 'check-policy', own);
    expect([code, stdout]).toEqual([0, expect.stringContaining('examples.jsonl:1: warning: image "a.png" is a JPEG')]);
    const [example] = (await openStored(own)).examples;
    const [a, b] = example!.images;
    expect(a).toMatchObject({ width: b!.width, height: b!.height });
    expect(Buffer.from(a!.rgb).equals(Buffer.from(b!.rgb))).toBe(true);
  });

  it('more of them than there is memory for are refused with what to do', () => {
    const image = (megabytes: number) => ({ width: 1, height: 1, rgb: new Uint8Array(megabytes * 2 ** 20) });
    const pictures = new PictureFiles('mine', 3 * 2 ** 20);
    pictures.add('a.jpg', image(1));
    pictures.add('b.jpg', image(2));
    expect(() => pictures.add('c.webp', image(4))).toThrow('mine: its JPEG and WebP pictures up to c.webp are 7 MiB of pixels, more than the 3 that are kept here. Save them as PNG');
  });

  it.each([['jpg', 'q85.jpg'], ['webp', 'lossy.webp'], ['png', 'rgb.png']])('half a %s is found with its line, and refused', async (ending, file) => {
    const whole = readFileSync(`${images}${file}`);
    const own = make(`half-${ending}`, { [`a.${ending}`]: whole.subarray(0, whole.length / 2), 'examples.jsonl': `{"images": ["a.${ending}"], "query": "q", "answer": "a"}\n` });
    const { code, stdout } = await trimpi('data', 'check-policy', own);
    expect([code, stdout]).toEqual([1, expect.stringMatching(/examples\.jsonl:1: error: image "a\.\w+" cannot be decoded \(/)]);
    expect(await trimpi('data', 'show', own)).toMatchObject({ code: 2, stderr: expect.stringContaining('examples.jsonl:1') });
  });

  it('a function that scores is asked about the rows, and named where it cannot be', async () => {
    const rows = { 'examples.jsonl': '{"query": "q", "answer": "a"}\n', 'scorer.json': '{"type": "module", "module": "score.mjs", "function": "score"}' };
    const less = make('function', { ...rows, 'score.mjs': 'export const score = () => 0.5;\n' });
    expect(await trimpi('data', 'check-policy', less)).toMatchObject({ code: 0, stdout: expect.stringMatching(/examples\.jsonl:1: warning: .*0\.5 of 1/) });
    const none = make('function-none', rows);
    expect(await trimpi('data', 'check-policy', none)).toMatchObject({ code: 1, stdout: expect.stringMatching(/scorer\.json:1: error: score\.mjs cannot be used/) });
  });
});

describe('trimpi completion', () => {
  it('bash: commands, options and their values', async () => {
    const { stdout } = await trimpi('completion', 'bash');
    const complete = (line: string): string[] => {
      const words = line.split(' ');
      const script = `${stdout}\nCOMP_WORDS=(${words.map((w) => `'${w}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _trimpi; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split('\n');
    };
    expect(complete('trimpi da')).toEqual(['data']);
    expect(complete('trimpi data clevr-policy --pol')).toEqual(['--policies']);
    expect(complete('trimpi data clevr-policy --seed 3 --tree r')).toEqual(['reachable', 'rich']);
    expect(complete('trimpi completion ')).toEqual(['bash', 'zsh', 'fish']);
  });

  it.each(['zsh', 'fish'])('%s: every command and option is in it', async (shell) => {
    const { code, stdout } = await trimpi('completion', shell);
    expect(code).toBe(0);
    for (const word of ['clevr-policy', 'check-policy', 'test-count', 'max-new-tokens', 'reachable']) expect(stdout).toContain(word);
  });
});
