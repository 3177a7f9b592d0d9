import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { clevrPolicy, fromParquet, paperPreset, shortcutBaselines, TOOLS } from '@trimpi/datasets';
import { Processor } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import { FORMAT_INSTRUCTION, resolveConfig } from '@trimpi/pipeline';
import { parquetReadObjects } from 'hyparquet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStored, type StoredItem } from '../src/data/stored.ts';
import { chatQuestions, type Question } from '../src/eval/questions.ts';
import { clevrQuestions, gtaQuestions } from '../src/eval/run-folder.ts';
import { questionSizes } from '../src/eval/sizes.ts';
import { rewardScript } from '../src/export/trainers.ts';
import { golden, longModel, scratch, trimpi } from './helpers.ts';

const dir = scratch();
afterAll(() => dir.remove());
const MODEL = golden('model');
const CLEVR = dir.path('clevr');
const GTA = dir.path('gta');
const OWN = dir.path('own');
beforeAll(async () => {
  await trimpi('data', 'clevr-policy', '--n', '2', '--policies', '2', '--count', '12', '--test-count', '4', '--width', '64', '--height', '48', '--out', CLEVR);
  await trimpi('data', 'gta-policy', '--count', '12', '--test-count', '4', '--out', GTA);
  mkdirSync(OWN);
  writeFileSync(`${OWN}/policy.md`, '# Policy: Sums\nAnswer with the sum.\n');
  writeFileSync(`${OWN}/scorer.json`, '{"type": "number", "tolerance": 0.5}');
  writeFileSync(`${OWN}/examples.jsonl`, ['{"query": "2 + 3?", "answer": 5, "images": []}', '{"query": "1,000 + 1?", "answer": "1,001", "images": [], "split": "test"}'].join('\n'));
});

describe('trimpi eval', () => {
  it('measures a checkpoint on ClevrPolicy: what generate says, scored, with intervals and baselines', async () => {
    const file = dir.path('answers.jsonl');
    const { code, stdout, stderr } = await trimpi('eval', MODEL, '--data', CLEVR, '--max-new-tokens', '8', '--completions', file, '--json');
    expect(code, stderr).toBe(0);
    const report = JSON.parse(stdout) as Record<string, number & { accuracy: number }>;
    // No right answer in 4: the Wilson interval ends at z^2 / (n + z^2).
    const z2 = 1.959963984540054 ** 2;
    expect(report).toMatchObject({ n: 4, accuracy: 0, low: 0, policyInPrompt: false });
    // One of the two policies has a case that no scene reaches.
    expect(report['chance']).toBeCloseTo((1 / 3 + 1 / 4) / 2, 12);
    expect(report['high']).toBeCloseTo(z2 / (4 + z2), 12);
    const stored = await openStored(CLEVR);
    const test = stored.examples.filter((e) => e.split === 'test');
    const count = (policy: string, answer: string) => stored.examples.filter((e) => e.split === 'train' && e.policyId === policy && e.answer === answer).length;
    const best = (policy: string) => Math.max(...[0, 1, 2, 3].map((k) => count(policy, `Case ${k}`)));
    expect(report['majority']).toBeGreaterThanOrEqual(0);
    expect(test.filter((e) => count(e.policyId, e.answer) === best(e.policyId)).length / test.length).toBeGreaterThanOrEqual(report['majority']!);
    // The same data again, from its settings.
    const same = clevrPolicy({ ...paperPreset(2), seed: 0, n: 2, policies: 2, width: 64, height: 48, train: 12, test: 4 });
    expect(same.policies.map((p) => p.id)).toEqual([...stored.outcomes.keys()]);
    const [trained, asked] = (['train', 'test'] as const).map((split) => Array.from({ length: same.size(split) }, (_, i) => same.example(split, i))) as [ReturnType<typeof same.example>[], ReturnType<typeof same.example>[]];
    const { objectCount, histogram } = shortcutBaselines(same.policies, trained, asked);
    expect(report['shortcuts']).toEqual({ objectCount, histogram });
    const lines = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { id: string; completion: string; correct: boolean });
    expect(lines.map((l) => l.id)).toEqual(test.map((e) => e.id));
    const image = `${CLEVR}/images/${readdirSync(`${CLEVR}/images`).find((name) => name.includes('test'))}`;
    const said = JSON.parse((await trimpi('generate', '--model', MODEL, '--max-new-tokens', '8', '--system', FORMAT_INSTRUCTION, '--image', image, '--prompt', test[0]!.query, '--json')).stdout) as { text: string };
    expect(lines[0]!.completion).toBe(said.text);
  });

  it('without its scenes a dataset has no shortcuts; chance is of the cases that a scene reaches', async () => {
    const bare = dir.path('bare');
    cpSync(CLEVR, bare, { recursive: true });
    rmSync(`${bare}/scenes.json`);
    const listed = JSON.parse(readFileSync(`${bare}/policies.json`, 'utf8')) as { policies: { outcomes: number; reachable: number[] }[] };
    listed.policies[0]!.reachable = [0, 2];
    writeFileSync(`${bare}/policies.json`, JSON.stringify(listed));
    const stored = await openStored(bare);
    expect([...stored.outcomes.values()]).toEqual([2, listed.policies[1]!.reachable.length]);
    expect(chatQuestions(stored, 'test', await Processor.load(folderFiles(MODEL)), { withPolicy: false, system: '' })).toMatchObject({ shortcuts: null, chance: (1 / 2 + 1 / 4) / 2 });
  });

  it('baselines are of the questions that are asked: of the first only, with a limit', async () => {
    const [stored, processor] = [await openStored(CLEVR), await Processor.load(folderFiles(MODEL))];
    const same = clevrPolicy({ ...paperPreset(2), seed: 0, n: 2, policies: 2, width: 64, height: 48, train: 12, test: 4 });
    const [trained, asked] = (['train', 'test'] as const).map((split) => Array.from({ length: same.size(split) }, (_, i) => same.example(split, i))) as [ReturnType<typeof same.example>[], ReturnType<typeof same.example>[]];
    for (const limit of [1, 3]) {
      const first = asked.slice(0, limit);
      const { objectCount, histogram } = shortcutBaselines(same.policies, trained, first);
      const set = chatQuestions(stored, 'test', processor, { withPolicy: false, system: '', limit });
      expect(set.questions.map((q) => q.id)).toEqual(first.map((e) => e.id));
      expect(set.shortcuts).toEqual({ objectCount, histogram });
      expect(set.chance).toBeCloseTo(first.reduce((sum, e) => sum + 1 / stored.outcomes.get(e.policyId)!, 0) / limit, 12);
      // A share of so many questions.
      expect((set.majority! * limit) % 1).toBeCloseTo(0, 12);
    }
    for (const [questions, config] of [[clevrQuestions, resolveConfig({ testSize: 6 })], [gtaQuestions, resolveConfig({ benchmark: 'gta', testSize: 6 })]] as const) {
      const [all, some] = [questions(config), questions(config, 1)];
      expect(some.questions.map((q) => q.example.id)).toEqual([all.questions[0]!.example.id]);
      expect([0, 1]).toContain(some.majority);
    }
  });

  it('GTAPolicy: tool, arguments and their mean', async () => {
    const { stdout } = await trimpi('eval', MODEL, '--data', GTA, '--limit', '1', '--max-new-tokens', '1', '--system', '', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'gta-policy', n: 1, arguments: 0, chance: 1 / 32, reward: { mean: 0, low: 0, high: 1 } });
  });

  it('the policy in the prompt costs its tokens', async () => {
    const tokens = async (...more: string[]) => (JSON.parse((await trimpi('eval', MODEL, '--data', OWN, '--max-new-tokens', '1', '--json', ...more)).stdout) as { promptTokens: number }).promptTokens;
    const processor = await Processor.load(folderFiles(MODEL));
    const policy = processor.tokenizer.encode('# Policy: Sums\nAnswer with the sum.\n\n').length;
    expect(Math.abs((await tokens('--with-policy')) - (await tokens()) - policy)).toBeLessThanOrEqual(2);
  });

  it('a checkpoint in few bits, in which it was trained', async () => {
    const { code, stdout } = await trimpi('eval', MODEL, '--data', OWN, '--bits', '4', '--max-new-tokens', '1', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'own', n: expect.any(Number) });
  });

  it('has as many positions as its longest prompt needs', async () => {
    const long = dir.path('long-policy');
    cpSync(OWN, long, { recursive: true });
    writeFileSync(`${long}/policy.md`, `# Policy: Sums\n${'z '.repeat(4200)}\n`);
    const args = ['--data', long, '--with-policy', '--max-new-tokens', '2', '--json'];
    const { code, stdout, stderr } = await trimpi('eval', longModel(dir.path('long')), ...args);
    expect(code, stderr).toBe(0);
    expect((JSON.parse(stdout) as { promptTokens: number }).promptTokens).toBeGreaterThan(8192);
    expect(await trimpi('eval', MODEL, ...args)).toMatchObject({ code: 2, stderr: expect.stringMatching(/question .* of the 1024 that the checkpoint has/) });
  });

  it('plans for a batch of the longest questions, and for what all begin with once', async () => {
    const question = (policyId: string, query: string, ids: number[]): Question => ({
      id: query, policyId, query, answer: '', score: () => ({ correct: false, accuracy: 0, format: 0 }),
      prompt: () => ({ inputIds: ids, positionIds: [...ids.keys(), ...ids.keys(), ...ids.keys()], images: [] }),
    });
    const policy = Array.from({ length: 9000 }, () => 7);
    const questions = [question('a', 'short', [...policy, 1]), question('a', 'a longer one', [...policy, 2, 510, 4]), ...Array.from({ length: 98 }, () => question('a', 'x', [...policy, 3]))];
    const config = { imageTokenId: 510, maxPositionEmbeddings: 100_000 };
    expect(await questionSizes(questions, { batch: 16, maxNewTokens: 10, config })).toEqual({ rows: 16, readTokens: 9000 + 16 * 3, tokens: 9000 + 16 * 13, positions: 9003 + 'a longer one'.length + 10 });
    // A picture may be another one in each question.
    const pictured = questions.map((q) => ({ ...q, prompt: () => ({ inputIds: [5, 510, 510, 8], positionIds: [0, 1, 1, 2, 0, 1, 1, 2, 0, 1, 2, 3], images: [] }) }));
    expect(await questionSizes(pictured, { batch: 200, maxNewTokens: 1, config })).toEqual({ rows: 100, readTokens: 1 + 100 * 3, tokens: 1 + 100 * 4, positions: 8192 });
    await expect(questionSizes(questions, { batch: 16, maxNewTokens: 10, config: { ...config, maxPositionEmbeddings: 9011 } })).rejects.toThrow('position 9012 of the 9011');
  });

  it('a file of --completions that cannot be written is refused before anything is loaded', async () => {
    const empty = dir.path('no-model');
    mkdirSync(empty);
    for (const [file, why] of [[dir.path('none/answers.jsonl'), 'ENOENT'], [OWN, 'it is a folder']] as const) {
      const { code, stderr } = await trimpi('eval', empty, '--data', OWN, '--completions', file);
      expect([code, stderr]).toEqual([2, expect.stringContaining(`--completions ${file} cannot be written: ${why}`)]);
    }
  });

  it('a file of --completions that can no longer be written does not cost the report', async () => {
    const file = dir.path('going/answers.jsonl');
    mkdirSync(dir.path('going'));
    // Its folder goes away while the questions are asked.
    const going = trimpi('eval', MODEL, '--data', OWN, '--max-new-tokens', '1', '--completions', file, '--json');
    rmSync(dir.path('going'), { recursive: true });
    const { code, stdout, stderr } = await going;
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'own', n: 1 });
    expect([code, JSON.parse(stderr)]).toMatchObject([1, { error: expect.stringContaining(file) }]);
  });

  it('refuses what does not go together', async () => {
    expect(await trimpi('eval', MODEL, '--data', OWN, '--bits', '3')).toMatchObject({ code: 2, stderr: expect.stringContaining('--bits') });
    expect(await trimpi('eval', MODEL)).toMatchObject({ code: 2, stderr: expect.stringContaining('--data') });
    expect(await trimpi('eval', MODEL, '--data', MODEL)).toMatchObject({ code: 2, stderr: expect.stringContaining('holds no dataset') });
    expect(await trimpi('eval', dir.path('none'))).toMatchObject({ code: 2 });
  });
});

const python = spawnSync('python3', ['-c', 'print(1)']).status === 0;

const boxed = (x: string, think = 't') => `<think>${think}</think>\\boxed{${x}}`;

/** Completions right, wrong and strange for an example, made from its answers. */
function completions({ golds, answer }: StoredItem): string[] {
  const gold = golds[0];
  const calls = typeof gold === 'object' && gold !== null ? variants(gold as { name: string; arguments: Record<string, unknown> }) : [];
  return [
    boxed(answer), ` ${boxed(` ${answer} `)}\n`, `\\boxed{${answer}}`, boxed(answer, `\\boxed{${answer}}`), `${boxed(answer)}!`, `${boxed(answer)}\\boxed{x}`, boxed(`${answer}x`), boxed(answer.toUpperCase()),
    `t</think>\\boxed{${answer}}`, `<think>a<think>b</think>\\boxed{${answer}}`, `<think>\\boxed{${answer}}`, boxed(answer).slice(0, -1), '', 'Case', boxed('{'), boxed(String(gold)), boxed('5.4'), boxed('$1,001.2 %'), boxed('1001'), boxed('4,5'), ...calls.map((c) => boxed(c)),
  ];
}

function variants(call: { name: string; arguments: Record<string, unknown> }): string[] {
  const changed = (args: Record<string, unknown>) => JSON.stringify({ name: call.name, arguments: args });
  const each = Object.keys(call.arguments).flatMap((key) => {
    const { [key]: value, ...rest } = call.arguments;
    const text = String(value);
    return [changed(rest), changed({ ...rest, [key]: null }), changed({ ...rest, [key]: `${text} more` }), changed({ ...rest, [key]: ` ${text.toUpperCase()}` }), changed({ ...rest, [key]: [1, 2, 3, 4] }), changed({ ...rest, [key]: '(0, 0, 90, 80)' }), changed({ ...rest, [key]: 4 }), changed({ ...rest, [key]: true }), changed({ ...rest, [key]: `(${text}) * 1` }), changed({ ...rest, [key]: text.slice(0, 4) })];
  });
  return [...each, changed({ ...call.arguments, extra: 1 }), changed({ ...call.arguments, k: 10, top1: true, color: 'red', annotation: 'x' }), JSON.stringify({ ...call, name: 'OCR_v9' }), JSON.stringify({ ...call, more: 1 }), '{"name": "OCR_v1", "arguments": {"image": NaN}}', '[1]'];
}

describe.skipIf(!python)('reward.py', () => {
  it.each([['clevr', CLEVR], ['gta', GTA], ['own', OWN]])('gives the rewards of our scorers: %s', async (name, folder) => {
    const stored = await openStored(folder);
    const cases = stored.examples.flatMap((example) => completions(example).map((completion) => ({ completion, truth: JSON.stringify(example.golds), want: example.score(completion) })));
    const home = dir.path(`reward-${name}`);
    mkdirSync(home);
    writeFileSync(`${home}/reward.py`, rewardScript(stored));
    writeFileSync(`${home}/cases.json`, JSON.stringify(cases));
    const got = JSON.parse(execFileSync('python3', ['-c', 'import json, reward\nprint(json.dumps([[s["accuracy"], s["format"], reward.compute_score("x", c["completion"], c["truth"])["score"], reward.accuracy_reward([[{"role": "assistant", "content": c["completion"]}]], [c["truth"]])[0]] for c in json.load(open("cases.json")) for s in [reward.score(c["completion"], c["truth"])]]))'], { cwd: home }).toString()) as [number, number, number, number][];
    cases.forEach(({ completion, want: { accuracy, format } }, i) => {
      const [a, f, both, trl] = got[i]!;
      expect(a, completion).toBeCloseTo(accuracy, 9);
      expect([f, trl], completion).toEqual([format, a]);
      expect(both).toBeCloseTo(0.9 * accuracy + 0.1 * format, 9);
    });
    expect(new Set(cases.map((c) => c.want.accuracy)).size).toBeGreaterThan(name === 'gta' ? 3 : 1);
  });

  it('knows the defaults of all tools', () => {
    const script = rewardScript({ kind: 'gta-policy' });
    for (const tool of TOOLS) for (const argument of tool.arguments) if (!argument.required) expect(script).toContain(`"${tool.name}${tool.versions === 0 ? '' : `_v${tool.versions}`}": {"${argument.name}"`);
    expect(() => rewardScript({ kind: 'own', scorer: { type: 'module', module: 'a.mjs', function: 'f' } })).toThrow('Python');
  });
});

describe('trimpi export', () => {
  it('trl: prompts, images and solutions that datasets reads, with rewards', async () => {
    const out = dir.path('trl');
    expect(await trimpi('export', '--data', CLEVR, '--to', 'trl', '--out', out)).toMatchObject({ code: 0, stdout: expect.stringContaining('12 training and 4 test rows') });
    expect(readdirSync(out).toSorted()).toEqual(['README.md', 'reward.py', 'test.parquet', 'train.parquet']);
    const rows = await fromParquet(readFileSync(`${out}/test.parquet`));
    const [example] = (await openStored(CLEVR)).examples.filter((e) => e.split === 'test');
    expect(rows).toHaveLength(4);
    expect(rows[0]!['prompt']).toEqual([{ role: 'user', content: example!.query }]);
    expect(rows[0]!['solution']).toBe(JSON.stringify([example!.answer]));
    expect(rows[0]!.images[0]!.bytes!.subarray(1, 4)).toEqual(new TextEncoder().encode('PNG'));
  });

  it('verl: the columns of RLHFDataset, one <image> for every image', async () => {
    const out = dir.path('verl');
    expect((await trimpi('export', '--data', GTA, '--to', 'verl', '--out', out, '--json')).code).toBe(0);
    const file = readFileSync(`${out}/train.parquet`);
    const rows = (await parquetReadObjects({ file: file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer })) as { data_source: string; prompt: { content: string }[]; images: unknown[]; reward_model: { style: string; ground_truth: string }; extra_info: { split: string } }[];
    expect(rows).toHaveLength(12);
    for (const row of rows) {
      expect(row).toMatchObject({ data_source: 'trimpi/gta-policy', reward_model: { style: 'rule' }, extra_info: { split: 'train' } });
      expect(row.prompt[0]!.content.split('<image>').length - 1).toBe(row.images.length);
      expect(JSON.parse(row.reward_model.ground_truth)).toHaveProperty('[0].name');
    }
  });
});
