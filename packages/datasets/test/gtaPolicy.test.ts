import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  boxOverlap, DatasetError, evaluateExpression, FAMILIES, FIELDS, formatToolCall, generateRules, gtaOverride, gtaPolicy, gtaPolicyQuestions,
  gtaEntry, gtaStepMetrics, instancesFromGta, makeEpisode, otcFactor, PAPER_RULES, parseBox, policyDocument, proveRules, resolveEpisode, resolveTool, ruleBoxes,
  scoreArguments, scoreField, scoreGtaPolicy, scoreGtaReferral, textSimilarity, toolRlReward, TOOLS, toolType, type GtaRules, type ToolCall, type UserProfile,
} from '../src/index.ts';
import golden from './fixtures/pictureGolden.json';
import python from './fixtures/pythonArithmetic.json';

const without = (i: number): GtaRules => ({ ...PAPER_RULES, bullets: PAPER_RULES.bullets.filter((_, k) => k !== i) });
const wording = (text: string): string => text.replace(/\d+/g, '#');
const say = (body: string): string => `<think>a</think>\\boxed{${body}}`;
const names = (split: 'train' | 'test'): Set<string> => new Set(FAMILIES.flatMap((f) => [0, 1, 2, 3].flatMap((i) => makeEpisode(9, split, i, f.name).pictures.flatMap((p) => p.entities.map((e) => e.name)))));
/** The paper's rules written a second time, as plain code. */
function paperVersion(tool: string, account: string, credits: number, age: number, maths: boolean): string {
  switch (tool) {
    case 'ImageDescription':
      if (account === 'A') return 'ImageDescription_v5';
      if (account === 'D') return credits > 500 ? 'ImageDescription_v2' : 'ImageDescription_v1';
      return credits > 500 ? 'ImageDescription_v4' : 'ImageDescription_v3';
    case 'OCR':
      if (maths) return 'MathOCR';
      if (credits <= 250) return 'OCR_v5';
      if (credits <= 750) return account === 'A' || account === 'B' ? 'OCR_v4' : 'OCR_v3';
      return age < 21 ? 'OCR_v2' : 'OCR_v1';
    case 'GoogleSearch':
      return age < 21 ? 'GoogleSearch_v1' : credits < 500 ? 'GoogleSearch_v2' : 'GoogleSearch_v3';
    case 'TextToImage':
      return account !== 'D' ? 'TextToImage_v1' : credits > 500 ? 'TextToImage_v2' : 'TextToImage_v3';
    case 'RegionAttributeDescription':
      return account === 'A' || account === 'B' ? 'RegionAttributeDescription_v2' : 'RegionAttributeDescription_v1';
    case 'CountGivenObject':
      return `CountGivenObject_v${credits < 250 ? 1 : credits < 500 ? 2 : credits < 750 ? 3 : 4}`;
    case 'ImageStylization':
      return `ImageStylization_v${age < 21 ? 1 : age < 60 ? 2 : 3}`;
    default:
      return tool;
  }
}

describe('the paper\'s policy', () => {
  it('has 14 tools, 32 names, 24 rules, and is proved', () => {
    const proof = proveRules(PAPER_RULES);
    expect(TOOLS.length).toBe(14);
    expect(TOOLS.reduce((n, tool) => n + Math.max(1, tool.versions), 0)).toBe(32);
    expect(proof.bullets).toBe(24);
    const named = new Set(PAPER_RULES.bullets.flatMap((b) => b.choices.map((c) => c.name)));
    for (const tool of TOOLS) for (let v = 1; v <= tool.versions; v++) expect(named.has(`${tool.name}_v${v}`)).toBe(true);
    const text = policyDocument(PAPER_RULES);
    expect(text).toContain('### Tool Descriptions ###');
    expect(text).toContain('### Tool Calling Rules ###');
    for (const name of named) expect(text).toContain(name);
  });

  it('resolves every version as the paper says, at every credit and age', () => {
    for (const tool of TOOLS) {
      for (const account of ['A', 'B', 'C', 'D']) {
        for (const maths of [false, true]) {
          for (let credits = 0; credits <= 1000; credits += credits % 250 > 246 || credits % 250 < 3 ? 1 : 41) {
            for (const age of [13, 20, 21, 22, 40, 59, 60, 85]) {
              const facts = { account_type: account, credits, age, hasMath: maths ? 'yes' : 'no' };
              expect(resolveTool(PAPER_RULES, tool.name, facts).name).toBe(paperVersion(tool.name, account, credits, age, maths));
            }
          }
        }
      }
    }
  });

  it('is refused when a rule is missing, doubled or void', () => {
    PAPER_RULES.bullets.forEach((_, i) => expect(() => proveRules(without(i))).toThrow(DatasetError));
    expect(() => proveRules({ ...PAPER_RULES, bullets: [...PAPER_RULES.bullets, PAPER_RULES.bullets[0]].flatMap((b) => b ?? []) })).toThrow(/both apply/);
    const contradiction = { id: 'x', tool: 'OCR', when: [{ field: 'age', low: 50, high: 20 }], choices: [{ when: [], name: 'OCR_v1' }], text: '' };
    expect(() => proveRules({ ...PAPER_RULES, bullets: [...PAPER_RULES.bullets, contradiction] })).toThrow(/never apply/);
  });
});

describe('generateRules', () => {
  it('is complete and disjoint: every user falls in exactly one case of every tool', () => {
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom('small', 'medium', 'large'), fc.integer({ min: 0, max: 1e6 }), (seed, size, pick) => {
        const rules = generateRules({ seed, size: size as 'small' });
        const facts = Object.fromEntries(FIELDS.map((f, i) => [f.name, f.kind === 'number' ? f.low + ((pick * (i + 7)) % (f.high - f.low + 1)) : (f.values[(pick >> i) % f.values.length] as string)]));
        for (const tool of new Set(rules.bullets.map((b) => b.tool))) {
          const hits = ruleBoxes(rules, tool).filter((box) => box.when.every((r) => ('values' in r ? r.values.includes(String(facts[r.field])) : Number(facts[r.field]) >= r.low && Number(facts[r.field]) <= r.high)));
          expect(hits.length).toBe(1);
        }
      }),
      { numRuns: 60, seed: 5 },
    );
  });
  it.each([5000, 20000, 50000])('reaches %i tokens', (tokens) => {
    const length = policyDocument(generateRules({ seed: 1, tokens })).length / 4;
    expect(Math.abs(length / tokens - 1)).toBeLessThan(0.1);
  });
});

describe('episodes', () => {
  it('come from at least 15 families, of one to eight steps, with one or several images', () => {
    expect(FAMILIES.length).toBeGreaterThanOrEqual(15);
    const steps = FAMILIES.map((family) => makeEpisode(1, 'train', 0, family.name).steps.length);
    expect([Math.min(...steps), Math.max(...steps)]).toEqual([1, 8]);
    for (const family of FAMILIES) {
      const episode = makeEpisode(2, 'test', 1, family.name);
      expect(episode.pictures.length > 1).toBe(family.several);
      for (const p of episode.pictures) expect(p.image.rgb.length).toBe(p.image.width * p.image.height * 3);
      for (const tool of TOOLS) if (!['Plot', 'Calculator', 'Solver'].includes(tool.name)) expect(episode.query).not.toContain(tool.name);
    }
  });

  it('obey the tips: several images are described first, boxes come from TextToBbox', () => {
    const profile: UserProfile = { account_type: 'C', credits: 600, age: 30 };
    for (const family of FAMILIES) {
      for (let i = 0; i < 5; i++) {
        const episode = makeEpisode(3, 'train', i, family.name);
        const steps = resolveEpisode(episode, PAPER_RULES, profile);
        if (family.several) {
          const first = steps.slice(0, episode.pictures.length);
          expect(new Set(first.map((s) => s.call.arguments['image']))).toEqual(new Set(episode.imageNames));
          expect(first.every((s) => s.call.name === 'ImageDescription_v4')).toBe(true);
          expect(first[0]?.golds.length).toBe(episode.pictures.length);
        }
        steps.forEach((s, at) => {
          const type = toolType(s.call.name);
          expect(type).toBeDefined();
          for (const a of type?.arguments ?? []) if (a.required) expect(s.call.arguments[a.name], `${family.name} ${s.call.name}.${a.name}`).toBeDefined();
          for (const name of Object.keys(s.call.arguments)) expect(type?.arguments.some((a) => a.name === name)).toBe(true);
          if (type?.name === 'RegionAttributeDescription') expect(steps[at - 1]?.step.output.content).toContain(String(s.call.arguments['bbox']));
          if (type?.name === 'Calculator') expect(Number(s.step.output.content)).toBeCloseTo(evaluateExpression(String(s.call.arguments['expression'])) ?? Number.NaN, 5);
        });
      }
    }
  });

  it('draw the committed pictures', () => {
    for (const { family, hashes } of golden) {
      const pictures = makeEpisode('golden', 'train', 0, family).pictures;
      expect(pictures.map((p) => createHash('sha256').update(p.image.rgb).digest('hex').slice(0, 16))).toEqual(hashes);
    }
  });
});

describe('gtaPolicy', () => {
  const data = gtaPolicy({ seed: 1, train: 1000, test: 500 });
  const train = Array.from({ length: 400 }, (_, i) => data.example('train', i));
  const test = Array.from({ length: 200 }, (_, i) => data.example('test', i));

  it('gives the paper\'s call for the user at hand, and its own answer full marks', () => {
    for (const e of [...train, ...test]) {
      const type = toolType(e.gold.name)?.name ?? '';
      const { account_type, credits, age } = e.profile;
      const expected = e.gold.name === 'MathOCR' ? 'MathOCR' : paperVersion(type, account_type, credits, age, false);
      expect(e.gold.name).toBe(expected);
      expect(scoreGtaPolicy(e.response, e.golds)).toEqual({ tool: 1, arguments: 1, accuracy: 1, format: 1 });
      expect(e.history.length).toBe(2 * e.step);
      expect(scoreGtaReferral(e.reasoning, data.rules, e.profile).score).toBe(10);
      expect(e.query).not.toContain('Tool Calling Rules');
    }
  });

  it('is a pure function of config and index', () => {
    const again = gtaPolicy({ seed: 1, train: 1000, test: 500 });
    expect(again.example('train', 399).response).toBe(train[399]?.response);
    expect(again.example('test', 7).query).toBe(test[7]?.query);
    expect(again.example('test', 7).images[0]?.rgb).toEqual(test[7]?.images[0]?.rgb);
    expect(data.episode('train', 5).map((e) => e.profile)).toEqual(data.episode('train', 5).map(() => train[5]?.profile));
  });

  it('shares no question, entity or episode between train and test', () => {
    const seen = new Set(train.map((e) => wording(e.userQuery)));
    expect(test.filter((e) => seen.has(wording(e.userQuery)))).toEqual([]);
    const generic = new Set(['expression', 'sign', 'person', 'coat', 'bottle', 'label']);
    const known = names('train');
    expect([...names('test')].filter((name) => known.has(name) && !generic.has(name))).toEqual([]);
    const episodes = new Set(train.map((e) => e.episodeId));
    expect(test.some((e) => episodes.has(e.episodeId))).toBe(false);
  });

  it('keeps held-out cases out of training, and only they fill their slice', () => {
    expect(data.heldOut.size).toBeGreaterThan(3);
    for (const e of train) expect(e.rulesUsed.some((rule) => data.heldOut.has(rule))).toBe(false);
    for (const e of test) expect(e.rulesUsed.some((rule) => data.heldOut.has(rule))).toBe(e.slice === 'unseenCell');
    for (const e of test.filter((x) => x.slice === 'severalImages')) expect(e.images.length).toBeGreaterThan(1);
    for (const e of test.filter((x) => x.slice === 'longHistory')) expect(e.step).toBeGreaterThanOrEqual(3);
    expect(gtaPolicy({ seed: 1, slices: false }).heldOut.size).toBe(0);
  });

  it.each([[{ train: -1 }, 'train is -1'], [{ policy: 'other' }, 'policy is "other"'], [{ policy: { seed: 1, tokens: 7 } }, 'tokens is 7']])('refuses %j', (config, message) => {
    expect(() => gtaPolicy(config as never)).toThrow(message as string);
  });

  it('runs on a generated policy', () => {
    const large = gtaPolicy({ seed: 2, policy: { seed: 4, size: 'large' }, train: 60 });
    for (let i = 0; i < 60; i++) {
      const e = large.example('train', i);
      expect(scoreGtaPolicy(e.response, e.golds).accuracy).toBe(1);
      expect(Object.keys(e.profile).length).toBe(7);
    }
  });

  it('overrides change the call, controls do not', () => {
    const o = gtaOverride({ seed: 1, train: 200 }, { controls: 0.3 });
    const items = Array.from({ length: 120 }, (_, i) => o.example('train', i));
    for (const e of items) {
      expect(e.gold.name !== e.oldGold.name).toBe(e.changed);
      expect(e.query).toContain('### Tool Calling Rule Override ###');
      expect(scoreGtaPolicy(e.response, e.golds).accuracy).toBe(1);
      if (e.changed) expect(e.query).toContain(e.gold.name);
    }
    expect(items.filter((e) => e.changed).length).toBeGreaterThan(60);
    expect(items.filter((e) => !e.changed).length).toBeGreaterThan(15);
  });

  it('asks about the rules directly', () => {
    const [q] = gtaPolicyQuestions(PAPER_RULES, [{ account_type: 'C', credits: 300, age: 30 }]);
    expect(q?.question).toContain('credits 300');
    expect(gtaPolicyQuestions(PAPER_RULES, [{ account_type: 'C', credits: 300, age: 30 }]).map((x) => x.answer)).toContain('OCR_v3');
  });
});

describe('evaluateExpression', () => {
  it.each<[string, number]>([
    ['1 + 2 * 3', 7], ['(1 + 2) * 3', 9], ['-2 ** 2', -4], ['2 ** 3 ** 2', 512], ['7 // 2', 3], ['-7 // 2', -4], ['-7 % 3', 2], ['7 % -3', -2],
    ['round(2.5)', 2], ['round(3.5)', 4], ['round(2.675 * 100) / 100', 2.68], ['max(1, 2, 3)', 3], ['sum([1, 2, 3])', 6], ['abs(-4)', 4],
    ['math.sqrt(16) + math.pi - math.pi', 4], ['1_000 / 8', 125], ['.5 + 1e1', 10.5], ['min([4, 2])', 2], ['len([1, 2]) ', 2], ['--3', 3],
  ])('%s', (text, value) => expect(evaluateExpression(text)).toBeCloseTo(value, 12));
  it.each(['', '1 +', '1 / 0', '__import__("os")', 'a', 'pi', 'x = 3', '(1', '1)', '[1, 2]', '9 ** 9 ** 9', 'math.constructor(1)', 'toString()', '1,2', '1; 2', '"a" * 3', 'lambda: 1', '('.repeat(200), '1'.repeat(500), 'round()', 'sum()', '1 2', '0x10'])('has no value: %s', (text) => {
    expect(evaluateExpression(text)).toBeUndefined();
  });
  it('gives what Python gives', () => {
    // `eval` of CPython, with the names of its module math, as a float; null for an error or a complex or infinite result.
    for (const [text, value] of python.rows as [string, number | null][]) {
      const got = evaluateExpression(text);
      if (value === null) expect(got, text).toBeUndefined();
      else expect(Math.abs(got! - value), text).toBeLessThanOrEqual(1e-12 * Math.abs(value));
    }
    expect(python.rows.length).toBe(371);
  });
  it.each(['math.factorial(10 ** 9)', 'math.factorial(501) ** 2', 'math.comb(10 ** 9, 5 * 10 ** 8)', 'math.perm(10 ** 9, 10 ** 8)', '2 ** 10 ** 9', '(-3) ** 10 ** 18 / 7', '10 ** 5000 // 3', `${'9'.repeat(300)} ** 50 % 7`, 'math.prod([10 ** 1000, 10 ** 1000])', 'math.lcm(10 ** 1200, 10 ** 1200 + 1)', 'math.hypot(10 ** 400)'])('does not compute what is too large: %s', (text) => {
    expect(evaluateExpression(text)).toBeUndefined();
  });
  it.each<[string, number]>([['1 ** 10 ** 300', 1], ['0 ** 10 ** 300', 0], ['(-1) ** (10 ** 300 + 1)', -1], ['math.comb(10 ** 300, 1) / 10 ** 300', 1], ['round(1.5, 10 ** 30)', 1.5], ['round(1.5, -(10 ** 30))', 0], ['pow(10 ** 300, 10 ** 600, 7)', 1]])('computes what is large but easy: %s', (text, value) => {
    expect(evaluateExpression(text)).toBe(value);
  });
  it('agrees with JavaScript on random arithmetic and never throws', () => {
    const tree: fc.Arbitrary<string> = fc.letrec<{ e: string }>((tie) => ({
      e: fc.oneof({ maxDepth: 4 }, fc.integer({ min: 0, max: 99 }).map(String), fc.tuple(tie('e'), fc.constantFrom('+', '-', '*'), tie('e')).map(([a, op, b]) => `(${a} ${op} ${b})`)),
    })).e;
    fc.assert(fc.property(tree, (text) => {
      if (text.length <= 400) expect(evaluateExpression(text)).toBeCloseTo(Function(`return ${text}`)() as number, 6);
    }), { numRuns: 200, seed: 3 });
    fc.assert(fc.property(fc.string(), (text) => {
      evaluateExpression(text);
    }), { numRuns: 500, seed: 3 });
  });
});

describe('scoreGtaPolicy', () => {
  const gold: ToolCall = { name: 'GoogleSearch_v2', arguments: { query: 'Norvane founding year', k: 1 } };
  const full = formatToolCall(gold);
  it.each<[string, number, number, number]>([
    [say(full), 1, 1, 1],
    [say('{"arguments": {"k": "1", "query": "norvane founding year"}, "name": "GoogleSearch_v2"}'), 1, 1, 1],
    [say(full.replace('_v2', '_v3')), 0, 0, 1],
    [say(full.replace('_v2', '')), 0, 0, 1],
    [say('{"name":"GoogleSearch_v2","arguments":{}}'), 1, 0, 1],
    [say('{"name":"GoogleSearch_v2","arguments":{"query":"Norvane founding year"}}'), 1, 0.5, 1],
    [say('{"name":"GoogleSearch_v2","arguments":{"query":"Norvane founding year","k":1,"extra":1,"more":2}}'), 1, 0.5, 1],
    [say(full) + say(full), 0, 0, 0],
    [`${say(full)}\\boxed{${full}}`, 0, 0, 0],
    [`<think>\\boxed{${full}}</think>`, 0, 0, 0],
    [say(`[${full}]`), 0, 0, 0],
    [say('{"name":"GoogleSearch_v2","arguments":[1]}'), 0, 0, 0],
    [say('{"name":["GoogleSearch_v1","GoogleSearch_v2"],"arguments":{}}'), 0, 0, 0],
    [say('{"name":"GoogleSearch_v2","arguments":{},"all":[]}'), 0, 0, 0],
    [say(full.replace('oo', '\u043e\u043e')), 0, 0, 1],
    [say('not json'), 0, 0, 0],
    [`\\boxed{${full}}`, 1, 1, 0],
    ['', 0, 0, 0],
  ])('%s', (completion, tool, args, format) => {
    const score = scoreGtaPolicy(completion, gold);
    expect(score.tool).toBe(tool);
    expect(score.arguments).toBeCloseTo(args, 10);
    expect(score.format).toBe(format);
    expect(score.accuracy).toBeCloseTo(0.5 * tool + 0.5 * args, 10);
  });
  it('gates, takes the best of several calls, and reads braces inside strings', () => {
    const wrongVersion = say(full.replace('_v2', '_v3'));
    expect(scoreGtaPolicy(wrongVersion, gold, { gate: 'type' }).accuracy).toBe(0.5);
    expect(scoreGtaPolicy(say(full.replace('GoogleSearch_v2', 'OCR_v1')), gold, { gate: 'type' }).accuracy).toBe(0);
    expect(scoreGtaPolicy(say(full.replace('GoogleSearch_v2', 'OCR_v1')), gold, { gate: 'none' }).accuracy).toBe(0.5);
    const other: ToolCall = { name: 'OCR_v1', arguments: { image: 'image/image_2.jpg' } };
    expect(scoreGtaPolicy(say(formatToolCall(other)), [gold, other]).accuracy).toBe(1);
    const tricky: ToolCall = { name: 'AddText', arguments: { image: 'i.jpg', text: 'a } b { "c" \\boxed', position: 'mt' } };
    expect(scoreGtaPolicy(say(formatToolCall(tricky)), tricky).accuracy).toBe(1);
  });
  it('compares fields by the paper\'s classes', () => {
    const draw: ToolCall = { name: 'DrawBox', arguments: { image: 'image/image_1.jpg', bbox: '(0, 0, 10, 10)' } };
    expect(scoreArguments({ image: 'image/image_1.jpg', bbox: '(0, 0, 10, 5)' }, draw)).toBeCloseTo(0.75, 12);
    expect(scoreArguments({ image: 'image/image_1.jpg', bbox: '[0, 0, 10, 10]', annotation: null }, draw)).toBe(1);
    expect(scoreArguments({ image: 'image/image_1.jpg', bbox: '[0, 0, 10, 10]', annotation: 'box' }, draw)).toBeCloseTo(2 / 3, 12);
    expect(scoreArguments({ image: 'image/image_1.jpg', bbox: '[0, 0, 10, 10]', other: null }, draw)).toBeCloseTo(2 / 3, 12);
    expect(scoreArguments({ image: 'image/image_1.jpg', bbox: '(0, 0, 10, 10)', annotation: null }, { ...draw, arguments: { ...draw.arguments, annotation: 'box' } })).toBeCloseTo(2 / 3, 12);
    expect(scoreArguments({ image: 'image_1.jpg', bbox: 'everywhere' }, draw)).toBe(0);
    const add: ToolCall = { name: 'AddText', arguments: { image: 'a', text: 't', position: 'mt' } };
    expect(scoreArguments({ image: 'a', text: 't', position: 'mt', color: 'red' }, add)).toBe(1);
    expect(scoreArguments({ image: 'a', text: 't', position: 'mt', color: 'blue' }, add)).toBe(0.75);
    const calc: ToolCall = { name: 'Calculator', arguments: { expression: '2 * (3 + 4)' } };
    expect(scoreArguments({ expression: '14' }, calc)).toBe(1);
    expect(scoreArguments({ expression: '14.1' }, calc)).toBe(0);
    expect(scoreArguments({ expression: 'nan' }, calc)).toBe(0);
    // 5! / 2 = 60; what is not evaluated here is right when it is the gold text.
    expect(scoreField('expression', 'math.factorial(5)/2', 'math.factorial(5)/2')).toBe(1);
    expect(scoreField('expression', '60', 'math.factorial(5)/2')).toBe(1);
    expect(scoreField('expression', ' statistics.mean([1, 2])', 'statistics.mean([1, 2])')).toBe(1);
    expect(scoreField('expression', '1.5', 'statistics.mean([1, 2])')).toBe(0);
    expect(scoreField('bbox', '(10.123456789012, 0, 20.5, 1e1)', '(10.123456789012, 0, 20.5, 1e1)')).toBe(1);
    // (20 - 15) * 10 of the 10 * 10 of the gold box.
    expect(scoreField('bbox', [15.0000000000001, 0, 20.0000000000001, 10], '(10.0000000000001, 0, 20.0000000000001, 10)')).toBeCloseTo(0.5, 12);
    expect(boxOverlap([0, 0, 2, 2], [1, 1, 3, 3])).toBeCloseTo(1 / 7, 12);
    expect(parseBox('(1, 2, 1, 5)')).toBeUndefined();
  });
  it('compares nested values whatever the order of their keys', () => {
    const find = { name: 'Find', arguments: { filter: { colour: 'red', size: { low: 1, high: 2 } }, ids: [1, 2], page: null } } as unknown as ToolCall;
    const same = '{"name":"Find","arguments":{"page":null,"ids":[1,2],"filter":{"size":{"high":2,"low":1},"colour":"red"}}}';
    expect(scoreGtaPolicy(say(same), find).accuracy).toBe(1);
    expect(toolRlReward(say(same), find)).toBeCloseTo(4, 12);
    for (const [from, to] of [['[1,2]', '[2,1]'], ['[1,2]', '{"0":1,"1":2}'], ['"high":2', '"high":3'], ['"high":2', '"highest":2'], ['"colour":"red"', '"colour":"red","shape":"cube"'], ['null', 'false']] as const) {
      expect(scoreGtaPolicy(say(same.replace(from, to)), find).arguments).toBeCloseTo(2 / 3, 12);
    }
  });
  it('measures text alike: 1 for equal, symmetric, in [0, 1]', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (a, b) => {
      const s = textSimilarity(a, b);
      expect(s).toBeGreaterThanOrEqual(0);
      expect(s).toBeLessThanOrEqual(1 + 1e-12);
      expect(textSimilarity(a, a)).toBe(1);
      expect(s).toBeCloseTo(textSimilarity(b, a), 12);
    }), { numRuns: 200, seed: 8 });
    expect(textSimilarity('red coat', 'the red coat')).toBeGreaterThan(textSimilarity('red coat', 'a blue hat'));
  });
  it('never throws on any completion', () => {
    fc.assert(fc.property(fc.string(), fc.json(), (a, b) => {
      expect(scoreGtaPolicy(a, gold).accuracy).toBe(0);
      expect(scoreGtaPolicy(say(b), gold).accuracy).toBeLessThan(1);
    }), { numRuns: 300, seed: 8 });
    expect(scoreGtaPolicy(say('{"name":"GoogleSearch_v2","arguments":{"__proto__":{"k":1},"query":1}}'), gold).accuracy).toBe(0.5);
  });
  it('computes ToolRL\'s and OTC\'s rewards at their ends', () => {
    expect(toolRlReward(say(full), gold)).toBeCloseTo(4, 12);
    expect(toolRlReward('nothing', gold)).toBe(-3);
    expect(toolRlReward(say(full.replace('_v2', '_v1')), gold)).toBeCloseTo(-2, 12);
    expect(otcFactor(3, 3)).toBeCloseTo(1, 12);
    expect(otcFactor(0, 0)).toBe(1);
    expect(otcFactor(6, 3)).toBeCloseTo(Math.sin((4 * Math.PI) / 6), 12);
    expect(otcFactor(10, 0)).toBeLessThan(1);
  });
  it('computes GTA\'s step metrics', () => {
    const m = gtaStepMetrics([{ completion: say(full), golds: [gold] }, { completion: 'no', golds: [gold] }, { completion: say(full.replace('_v2', '_v9')), golds: [gold] }]);
    expect(m.instAcc).toBeCloseTo(2 / 3);
    expect(m.toolAcc).toBeCloseTo(1 / 3);
    expect(m.argAcc).toBeCloseTo(1 / 3);
    expect(m.f1.operation).toBeCloseTo(4 / 5);
    expect(m.f1.logic).toBeUndefined();
  });
});

describe('GTA\'s format', () => {
  const profile: UserProfile = { account_type: 'B', credits: 300, age: 40 };
  it('is written and read back, one instance a call', () => {
    for (const family of FAMILIES) {
      const episode = makeEpisode(6, 'train', 2, family.name);
      const steps = resolveEpisode(episode, PAPER_RULES, profile);
      const entry: unknown = JSON.parse(JSON.stringify(gtaEntry(episode, steps)));
      const maths = episode.pictures.some((p) => p.latex.length > 0);
      const instances = instancesFromGta(entry, { rules: PAPER_RULES, profile, hasMath: () => maths });
      expect(instances.map((i) => i.gold)).toEqual(steps.map((s) => s.call));
      expect(instances.map((i) => i.history.length)).toEqual(steps.map((_, i) => 2 * i));
      expect(instances[0]?.query).toBe(episode.query);
      expect(instances[0]?.images).toEqual(episode.imageNames);
    }
  });
  it('gives GTA\'s unversioned names the versions of the policy', () => {
    const entry = {
      files: [{ type: 'image', path: 'image/image_9.jpg', url: null }],
      dialogs: [
        { role: 'user', content: 'What does it say?' },
        { role: 'assistant', tool_calls: [{ type: 'function', function: { name: 'OCR', arguments: { image: 'image/image_9.jpg' } } }], thought: 'read' },
        { role: 'tool', name: 'OCR', content: { type: 'text', content: '(1, 2, 3, 4) hi' } },
        { role: 'assistant', content: 'It says hi.' },
      ],
    };
    expect(instancesFromGta(entry, { rules: PAPER_RULES, profile }).map((i) => i.gold.name)).toEqual(['OCR_v4']);
    expect(instancesFromGta(entry, { rules: PAPER_RULES, profile, hasMath: () => true }).map((i) => i.gold.name)).toEqual(['MathOCR']);
  });
  it('names the turn that cannot be read, and never crashes', () => {
    expect(() => instancesFromGta({ dialogs: [{ role: 'user', content: 'a' }, { role: 'robot' }] }, { rules: PAPER_RULES, profile })).toThrow('entry.dialogs[1]');
    fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      for (const entry of [a, { dialogs: [a, b] }, { dialogs: [{ role: 'assistant', tool_calls: a }, { role: 'tool', content: b }] }]) {
        try {
          instancesFromGta(entry, { rules: PAPER_RULES, profile });
        } catch (error) {
          expect(error).toBeInstanceOf(DatasetError);
        }
      }
    }), { numRuns: 200, seed: 4 });
  });
});
