import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  clevrPolicy, DatasetError, encodePng, decodePng, exchangeRow, findNearDuplicates, fromJsonl, fromParquet, generateScene, importRow, gtaPolicy, makeScorer,
  ownExamples, parseScenes, parseScorerSpec, readOwnPolicy, renderScene, scoreTargets, toJsonl, toParquet, type PolicyFolder,
} from '../src/index.ts';

const picture = (seed: number): Uint8Array => encodePng(renderScene(generateScene({ width: 112, height: 84 }, seed), { width: 112, height: 84 }));

function folder(files: Record<string, string | Uint8Array>): PolicyFolder {
  return {
    readText: (name) => (typeof files[name] === 'string' ? files[name] : undefined),
    readBytes: (name) => (files[name] === undefined ? undefined : typeof files[name] === 'string' ? new TextEncoder().encode(files[name]) : files[name]),
  };
}

const POLICY = '# Return policy\nIf the parcel looks like ![damaged](img/a.png), answer Refund.\n';
const row = (value: unknown): string => JSON.stringify(value);
const say = (text: string): string => `<think>a</think>\\boxed{${text}}`;

const own = (scorer: string, value: object) => readOwnPolicy(folder({ 'policy.md': '# P', 'scorer.json': scorer, 'examples.jsonl': row({ query: 'q', ...value }) }));
const read = (scorer: string, answer: unknown, more: object = {}): number => own(scorer, { answer, ...more }).findings.length;
const noPicture = (): never => { throw new Error('no picture'); };
describe('readOwnPolicy', () => {
  it('reads policy, images, rows and scorer', () => {
    const f = folder({
      'policy.md': POLICY, 'img/a.png': picture(1), 'img/b.png': picture(2), 'scorer.json': '{"type":"exact","ignoreCase":true}',
      'examples.jsonl': `${row({ id: 'one', images: ['img/b.png'], query: 'What now?', answer: 'Refund', reasoning: 'It is torn.', profile: { tier: 'gold' } })}\n\n${row({ query: 'And now?', answer: 3, split: 'test' })}\n`,
    });
    const policy = readOwnPolicy(f);
    expect(policy.findings).toEqual([]);
    expect([policy.name, policy.policyImages, policy.rows.length]).toEqual(['Return policy', ['img/a.png'], 2]);
    const [first] = ownExamples(policy, (name) => decodePng(f.readBytes(name) ?? new Uint8Array()));
    expect(first?.policyText).toContain('looks like <image>, answer');
    expect(first?.query).toContain('- tier: gold');
    expect(first?.policyParts.map((part) => part.type)).toEqual(['text', 'image', 'text']);
    expect(first?.images[0]?.width).toBe(112);
    expect(first?.response).toBe('<think>It is torn.</think>\\boxed{Refund}');
  });

  it('names file and line of every mistake', () => {
    const lines = [
      row({ query: 'ok', answer: 'a' }),
      '{"query": "cut',
      row({ answer: 'a' }),
      row({ query: 'q', answer: 'a', images: ['no.png'] }),
      row({ query: 'q', answer: 'a', images: ['../../etc/passwd'] }),
      row({ query: 'q', answer: null }),
      row({ query: 'q', answer: 'a', splitt: 'test' }),
      row({ query: 'q', answer: 'a', split: 'dev' }),
      row({ id: 'x', query: 'q', answer: 'a' }),
      row({ id: 'x', query: 'q', answer: 'a' }),
      '[1, 2]',
      row({ query: '  ', answer: 'a' }),
      row({ query: 'q', answer: 'a', history: 'none' }),
    ];
    const { findings, rows } = readOwnPolicy(folder({ 'policy.md': `${POLICY}![x](/abs.png)`, 'examples.jsonl': lines.join('\n'), 'scorer.json': '{"type":"best"}' }));
    const at = (file: string): number[] => findings.filter((f) => f.file === file).map((f) => f.line);
    expect(at('examples.jsonl')).toEqual([2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]);
    expect(at('policy.md')).toEqual([2, 3]);
    expect(at('scorer.json')).toEqual([1]);
    expect(rows.map((r) => r.line)).toEqual([1, 9]);
    expect(findings.find((f) => f.line === 5)?.message).toContain('leaves the folder');
    expect(findings.find((f) => f.line === 10)?.message).toContain('line 9');
  });

  it('checks that answers suit the scorer', () => {
    expect([read('{"type":"number"}', 'many'), read('{"type":"regex"}', '(('), read('{"type":"toolCall"}', 'OCR')]).toEqual([2, 2, 2]);
    expect([read('{"type":"number"}', '1,200.5'), read('{"type":"regex"}', 'a+', { sample: 'aa' }), read('{"type":"toolCall"}', { name: 'OCR', arguments: {} }), read('{"type":"set"}', ['a', 'b'])]).toEqual([0, 0, 0, 0]);
  });

  it.each<[string, object, string]>([
    ['{"type":"set"}', { answer: ['Paris, France', 'Rome'] }, 'set "separator" in scorer.json'],
    ['{"type":"regex"}', { answer: 'order \\d+' }, 'write a "sample"'],
    ['{"type":"regex"}', { answer: 'order \\d+', sample: 'order x' }, 'not matched by the pattern'],
    ['{"type":"regex"}', { answer: 'a+', sample: 'a'.repeat(501) }, 'at most 500'],
    ['{"type":"exact"}', { answer: 'a } b' }, 'braces must balance'],
    ['{"type":"exact"}', { answer: 'a', sample: 'b' }, 'gets 0 of 1 from the exact scorer'],
    ['{"type":"exact"}', { answer: 'a'.repeat(10001) }, '10001 characters'],
    ['{"type":"exact"}', { answer: 'a', reasoning: 'so </think> it is' }, 'take the tags out'],
    ['{"type":"toolCall"}', { answer: { name: 'OCR', arguments: [] } }, 'gets 0 of 1 from the toolCall scorer'],
  ])('%s %j: a response that its scorer rejects is an error, and is not trained', (scorer, value, message) => {
    const { findings, rows } = own(scorer, value);
    expect(findings.map(({ line, severity, message: said }) => [line, severity, said])).toContainEqual([1, 'error', expect.stringContaining(message)]);
    expect(rows).toEqual([]);
  });

  it.each<[string, object, string]>([
    ['{"type":"set","separator":";"}', { answer: ['Paris, France', 'Rome'] }, 'Paris, France; Rome'],
    ['{"type":"set","separator":" | "}', { answer: ['a', 'b'] }, 'a | b'],
    ['{"type":"set"}', { answer: ['red', 'blue'] }, 'red, blue'],
    ['{"type":"regex"}', { answer: 'order \\d+', sample: 'order 12' }, 'order 12'],
    ['{"type":"regex"}', { answer: 'Refund' }, 'Refund'],
    ['{"type":"number"}', { answer: 1e21 }, '1e+21'],
  ])('%s %j: the response has in its box what the scorer takes', (scorer, value, boxed) => {
    const policy = own(scorer, value);
    expect(policy.findings).toEqual([]);
    const [example] = ownExamples(policy, noPicture);
    expect(example?.response).toBe(`<think></think>\\boxed{${boxed}}`);
    expect(makeScorer(policy.scorer)(example?.response ?? '', policy.rows[0]!.answer)).toEqual({ accuracy: 1, format: 1 });
  });

  it('a function is asked about every row too, and what it throws is said', () => {
    const policy = own('{"type":"module","module":"a.mjs","function":"f"}', { answer: 'a' });
    const said = (f: () => number) => scoreTargets(policy, makeScorer(policy.scorer, f)).map(({ line, severity, message }) => [line, severity, message]);
    expect(policy.findings).toEqual([]);
    expect(said(() => 1)).toEqual([]);
    expect(said(() => 0.75)).toEqual([[1, 'warning', expect.stringContaining('0.75 of 1')]]);
    expect(said(() => { throw new Error('no list'); })).toEqual([[1, 'warning', expect.stringContaining('no list')]]);
  });

  it.each<[string, string]>([
    ['![x](img/a.png)', 'img/a.png'],
    ['![x](img/a.png "broken (badly)")', 'img/a.png'],
    ["![x]( img/a.png 'broken' )", 'img/a.png'],
    ['![x](<my tray.png>)', 'my tray.png'],
    ['![x](<my tray.png> "title")', 'my tray.png'],
    ['![x](my%20tray.png)', 'my tray.png'],
    ['![x](tray(1).png)', 'tray(1).png'],
  ])('Markdown image %s', (markdown, name) => {
    const f = folder({ 'policy.md': `# P\nLike ${markdown}, so.`, 'img/a.png': picture(1), 'my tray.png': picture(2), 'tray(1).png': picture(3), 'examples.jsonl': row({ query: 'q', answer: 'a' }) });
    const policy = readOwnPolicy(f);
    expect([policy.findings, policy.policyImages]).toEqual([[], [name]]);
    expect(ownExamples(policy, noPicture)[0]?.policyText).toBe('# P\nLike <image>, so.');
  });

  it('no demonstration is left out silently', () => {
    const f = folder({
      'policy.md': ['# P', '![x](my tray.png)', '![y](a.png "open)', '![two ![z][ref] ![w](', 'kept as text: !\\[x](a.png) \\![x](a.png) wow!', '![q](a.png)'].join('\n'),
      'my tray.png': picture(1), 'a.png': picture(2), 'examples.jsonl': row({ query: 'q', answer: 'a' }),
    });
    const policy = readOwnPolicy(f);
    const said = (severity: string) => policy.findings.filter((x) => x.severity === severity).map(({ file, line, message }) => [file, line, message]);
    expect(policy.policyImages).toEqual(['my tray.png', 'a.png "open', 'a.png']);
    expect(said('warning')).toEqual([['policy.md', 2, expect.stringContaining('write ![name](<my tray.png>)')], ['policy.md', 3, expect.stringContaining('spaces')]]);
    expect(said('error')).toEqual([
      ['policy.md', 3, expect.stringContaining('does not exist')],
      ...['![two', '![z]', '![w]('].map((text) => ['policy.md', 4, expect.stringContaining(`"${text}`)]),
    ]);
    expect(ownExamples(policy, noPicture)[0]?.policyText).toContain('kept as text: !\\[x](a.png) \\![x](a.png) wow!\n<image>');
  });

  it('a file is known by its content', () => {
    const jpeg = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 0);
    const f = folder({
      'policy.md': '# P\n![x](a.png)', 'a.png': jpeg, 'b.png': 'GIF89a',
      'examples.jsonl': [row({ query: 'q', answer: 'a', images: ['a.png'] }), row({ query: 'q', answer: 'a', images: ['b.png'] })].join('\n'),
    });
    const policy = readOwnPolicy(f);
    expect(policy.findings.map(({ file, line, severity, message }) => [file, line, severity, message])).toEqual([
      ['policy.md', 2, 'warning', expect.stringContaining('"a.png" is a JPEG by its content')],
      ['examples.jsonl', 2, 'error', expect.stringContaining('"b.png" is neither PNG, JPEG nor WebP')],
    ]);
    expect(policy.rows.map((r) => r.line)).toEqual([1]);
  });

  it('never throws or hangs on any file', () => {
    const start = performance.now();
    fc.assert(fc.property(fc.string(), fc.oneof(fc.string(), fc.json()), fc.oneof(fc.string(), fc.json()), (a, b, c) => {
      const policy = readOwnPolicy(folder({ 'policy.md': a, 'examples.jsonl': b, 'scorer.json': c }));
      expect(policy.rows.length === 0).toBe(policy.findings.some((f) => f.file === 'examples.jsonl' && f.line === 0));
    }), { numRuns: 400, seed: 6 });
    for (const opening of ['![](', '![]((', '![](a "', '![](a (', '![](<a', '![', '![](a "b" ']) readOwnPolicy(folder({ 'policy.md': opening.repeat(50000), 'examples.jsonl': '['.repeat(900000) }));
    expect(performance.now() - start).toBeLessThan(20000);
  });

  it('rejects broken scene files with the field, and never crashes', () => {
    expect(() => parseScenes({ scenes: [{ objects: [{ shape: 'cube', size: 'large', material: 'metal', color: 'pink', '3d_coords': [0, 0, 0] }] }] })).toThrow('scenes[0].objects[0].color is "pink"');
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      try {
        parseScenes(value);
      } catch (error) {
        expect(error).toBeInstanceOf(DatasetError);
      }
    }), { numRuns: 400, seed: 6 });
    const scene = generateScene({}, 1);
    expect(parseScenes(JSON.parse(JSON.stringify({ info: {}, scenes: [scene] })))[0]).toEqual(scene);
  });
});

describe('near-duplicates', () => {
  it('reports equal and nearly equal pictures with like questions, and nothing else', () => {
    const a = renderScene(generateScene({ width: 112, height: 84 }, 1), { width: 112, height: 84 });
    const noisy = { ...a, rgb: a.rgb.map((v, i) => (i % 97 === 0 && v < 250 ? v + 2 : v)) };
    const f = folder({
      'policy.md': '# P', 'a.png': encodePng(a), 'b.png': encodePng(noisy), 'c.png': picture(5),
      'examples.jsonl': [
        row({ images: ['a.png'], query: 'What is the response for this image?', answer: 'x' }),
        row({ images: ['b.png'], query: 'What is the response for this image', answer: 'x', split: 'test' }),
        row({ images: ['c.png'], query: 'What is the response for this image?', answer: 'x', split: 'test' }),
        row({ images: ['a.png'], query: 'How many guests can sit here?', answer: 'x', split: 'test' }),
      ].join('\n'),
    });
    expect(findNearDuplicates(readOwnPolicy(f), f).map((finding) => finding.line)).toEqual([2]);
  });
});

const accuracy = (spec: unknown, completion: string, answer: Parameters<ReturnType<typeof makeScorer>>[1]): number => makeScorer(parseScorerSpec(spec))(completion, answer).accuracy;
describe('makeScorer', () => {
  it.each<[unknown, string, Parameters<ReturnType<typeof makeScorer>>[1], number]>([
    [{ type: 'exact' }, say('Refund'), 'Refund', 1],
    [{ type: 'exact' }, say('refund'), 'Refund', 0],
    [{ type: 'exact', ignoreCase: true }, say('refund'), 'Refund', 1],
    [{ type: 'exact' }, say('Refund') + '\\boxed{Keep}', 'Refund', 0],
    [{ type: 'set' }, say('b, a'), ['a', 'b'], 1],
    [{ type: 'set' }, say('a, b, c'), ['a', 'b'], 0],
    [{ type: 'set', separator: ';' }, say('a; b'), ['a', 'b'], 1],
    [{ type: 'number' }, say('1,200.50'), 1200.5, 1],
    [{ type: 'number', tolerance: 0.1 }, say('3.05'), 3, 1],
    [{ type: 'number' }, say('3.05'), 3, 0],
    [{ type: 'number' }, say('3 or 4'), 3, 0],
    [{ type: 'number' }, say('NaN'), 3, 0],
    [{ type: 'number' }, say('Infinity'), 3, 0],
    [{ type: 'number' }, say('1e999'), 3, 0],
    [{ type: 'number', relative: 0.01 }, say('50%'), 50, 1],
    [{ type: 'regex' }, say('order 12'), 'order \\d+', 1],
    [{ type: 'regex' }, say('my order 12!'), 'order \\d+', 0],
    [{ type: 'regex' }, say('x'), '((', 0],
    [{ type: 'toolCall' }, say('{"name":"OCR","arguments":{"image":"a"}}'), { name: 'OCR', arguments: { image: 'a' } }, 1],
  ])('%j %s', (spec, completion, answer, expected) => expect(accuracy(spec, completion, answer)).toBe(expected));
  it('runs a function and keeps its value in [0, 1]', () => {
    const spec = parseScorerSpec({ type: 'module', module: 'scorer.mjs', function: 'score' });
    expect(() => makeScorer(spec)).toThrow(DatasetError);
    expect(makeScorer(spec, (p) => (p === 'x' ? 0.5 : 7))(say('x'), 'y')).toEqual({ accuracy: 0.5, format: 1 });
    expect(makeScorer(spec, () => Number.NaN)(say('x'), 'y').accuracy).toBe(0);
  });
  it('names an unknown field and those that there are', () => {
    expect(() => parseScorerSpec({ type: 'set', separtor: ';' })).toThrow('field "separtor" is unknown for type set; use type, separator.');
  });
  it.each([null, [], {}, { type: 'regex', flags: 'gx' }, { type: 'module' }, { type: 'number', tolerance: '1' }, { type: 'set', separtor: ';' }, { type: 'exact', separator: ';' }, { type: 'set', separator: '' }])('refuses %j', (spec) => {
    expect(() => parseScorerSpec(spec)).toThrow(DatasetError);
  });
});

describe('exchange', () => {
  const data = clevrPolicy({ n: 2, variant: 'm', width: 112, height: 84, train: 4, test: 0, policies: 1 });
  const rows = (format: 'plain' | 'easyr1' | 'trl-grpo' | 'trl-sft', policy = false) =>
    [0, 1].map((i) => {
      const e = data.example('train', i);
      const images = [...(policy ? (data.policies[0]?.images ?? []) : []), ...e.images].map((image, k) => ({ path: `images/${i}-${k}.png`, bytes: encodePng(image) }));
      return exchangeRow(e, images, { format, policy });
    });

  it('uses the column names of EasyR1 and TRL, with one slot for each image', () => {
    const [easy] = rows('easyr1', true);
    expect(Object.keys(easy ?? {})).toEqual(['problem', 'answer', 'images']);
    expect(String(easy?.['problem']).split('<image>').length - 1).toBe(easy?.images.length);
    const [grpo] = rows('trl-grpo');
    expect(Object.keys(grpo ?? {})).toEqual(['prompt', 'images', 'solution']);
    expect(grpo?.['prompt']).toEqual([{ role: 'user', content: data.example('train', 0).query }]);
    expect(rows('trl-sft')[0]?.['messages']).toHaveLength(2);
  });

  it('comes back from JSONL and from Parquet', async () => {
    const plain = rows('plain');
    expect(fromJsonl(toJsonl(plain)).map((r) => [r['id'], r.images[0]?.path])).toEqual(plain.map((r) => [r['id'], r.images[0]?.path]));
    for (const format of ['plain', 'easyr1', 'trl-grpo', 'trl-sft'] as const) {
      const source = rows(format);
      const back = await fromParquet(await toParquet(source));
      expect(back.map((r) => r.images)).toEqual(source.map((r) => r.images));
      for (const [i, r] of back.entries()) for (const key of Object.keys(source[i] ?? {})) if (key !== 'images') expect(r[key]).toEqual(source[i]?.[key]);
    }
  });

  it('imports every format as the same question and answer', () => {
    const e = data.example('train', 0);
    for (const format of ['plain', 'easyr1', 'trl-grpo', 'trl-sft'] as const) {
      const [first] = rows(format);
      if (!first) throw new Error('a row expected');
      const back = importRow(first, format);
      expect([back.query, back.answer, back.images]).toEqual([e.query, e.answer, ['images/0-0.png']]);
      if (format === 'plain' || format === 'trl-sft') expect(back.reasoning).toBe(e.reasoning);
    }
    expect(() => importRow({ images: [] }, 'easyr1')).toThrow('problem is missing');
    expect(() => importRow({ images: [], messages: [null, 3] }, 'trl-sft')).toThrow(DatasetError);
  });

  it('refuses what is not a dataset', async () => {
    expect(() => fromJsonl('{}\n[1]')).toThrow('examples.jsonl:2');
    expect(() => fromJsonl('{"images": 3}')).toThrow(DatasetError);
    await expect(fromParquet(new Uint8Array(40))).rejects.toThrow(DatasetError);
    await expect(toParquet([])).rejects.toThrow(DatasetError);
  });

  it('exports a GTA example with its history in the prompt', () => {
    const e = gtaPolicy({ seed: 4, train: 30 }).example('train', 19);
    expect(String(exchangeRow(e, [{ path: 'a.png' }], { format: 'easyr1' })['problem'])).toContain('### Interaction History ###');
  });
});
