import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  COMPACT_GTA_TOOLS, COMPACT_MATH_VALUE, compactGta, compactGtaDrill, compactGtaFromRules, compactGtaQuestion, compactGtaVocabulary, compactPaperGta, compactVocabulary, DatasetError, generateRules, generateScene,
  PAPER_RULES, parseCompactGtaCall, parseResponse, randomStream, resolveCompactGta, resolveTool, sampleCompactGta, sceneValues, scoreCompactGta, TINY_SCENES,
  type CompactGtaPolicy, type CompactGtaQuestion, type CompactGtaTool, type GtaRules, type SampleCompactGtaOptions, type Scene, type UserProfile,
} from '../src/index.ts';

const SCENES = Array.from({ length: 60 }, (_, i) => generateScene({ ...TINY_SCENES.scene, width: TINY_SCENES.width, height: TINY_SCENES.height, crop: TINY_SCENES.crop }, 'gtaCompact', i));
const WORDS = new Set([...compactVocabulary(), ...compactGtaVocabulary()]);
const TYPES = { ocr: 'OCR', describe: 'ImageDescription', count: 'CountGivenObject', search: 'GoogleSearch', draw: 'TextToImage', attribute: 'RegionAttributeDescription', restyle: 'ImageStylization' };
const split = (text: string): string[] => text.split(' ');
const PROFILES: UserProfile[] = (['A', 'B', 'C', 'D'] as const).flatMap((account_type) =>
  Array.from({ length: 21 }, (_, c) => 50 * c).flatMap((credits) => Array.from({ length: 15 }, (_, a) => ({ account_type, credits, age: 15 + 5 * a }))),
);

/** The policy's text read by other code than wrote it. */
interface ReadPolicy {
  readonly name: string;
  readonly entries: Map<string, string>;
  readonly nodes: Map<string, string[]>;
  readonly tips: Set<string>;
}

function readPolicy(text: string): ReadPolicy {
  const [head, body] = text.split(' : ') as [string, string];
  const entries = new Map<string, string>();
  const nodes = new Map<string, string[]>();
  const tips = new Set<string>();
  for (const section of body.split(' ;').map((part) => part.trim()).filter((part) => part !== '')) {
    const words = split(section);
    if (words[0] === 'tip') tips.add(words[1] as string);
    else if (/^n\d+$/.test(words[0] as string)) {
      if (nodes.has(words[0] as string)) expect.fail(`${words[0]} stands for two nodes`);
      nodes.set(words[0] as string, words.slice(1));
    } else entries.set(words[0] as string, words[1] as string);
  }
  return { name: head.replace('policy ', ''), entries, nodes, tips };
}

interface ReadUser { readonly account: string; readonly credits: number; readonly age: number }

function truth(condition: readonly string[], user: ReadUser, shown: ReadonlySet<string>): boolean {
  const [kind, ...values] = condition;
  if (kind === 'credits') return user.credits <= Number(values[0]?.slice(1));
  if (kind === 'age') return user.age <= Number(values[0]?.slice(1));
  return kind === 'account' ? values.includes(user.account) : shown.has(values[0] as string);
}

/** Follows a tool's tree in the text: the words of the way, its last node and the version. */
function follow(policy: ReadPolicy, tool: string, user: ReadUser, shown: ReadonlySet<string>): { way: string; leaf: string; version: string } {
  let id = policy.entries.get(tool) as string;
  const way = [tool];
  for (let words = policy.nodes.get(id) as string[]; words.length > 1; words = policy.nodes.get(id) as string[]) {
    const condition = words.slice(0, -2);
    const holds = truth(condition, user, shown);
    way.push(id, ...condition, '?', holds ? 'yes' : 'no');
    id = words.at(holds ? -2 : -1) as string;
  }
  const version = policy.nodes.get(id)?.[0] as string;
  return { way: [...way, id, version].join(' '), leaf: id, version };
}

/** What the text wants for a query, from the words of both and the objects of the scenes. */
function expected(text: string, query: string, scenes: readonly Scene[]): { answer: string; reasoning: string; leaf: string | undefined } {
  const policy = readPolicy(text);
  const [need, ...done] = (query.split(' need ')[1] as string).split(/ ?done /).map((part) => part.replace(' ;', ''));
  const match = /^policy (\w+ \w+) \? user account ([A-D]) credits c(\d+) age a(\d+) need /.exec(query) as RegExpExecArray;
  expect(match[1]).toBe(policy.name);
  const user = { account: match[2] as string, credits: Number(match[3]), age: Number(match[4]) };
  const words = split(need as string);
  const tool = words[0] as string;
  const image = words.find((word) => /^image\d$/.test(word));
  const rest = words.slice(1).filter((word) => word !== image);
  const call = (name: string, on: string | undefined, args: readonly string[], tip: string): ReturnType<typeof expected> => {
    const shown = new Set<string>(on === undefined ? [] : scenes[Number(on.slice(5)) - 1]?.objects.flatMap((o) => [o.color, o.size, o.shape, o.material]));
    const { way, leaf, version } = follow(policy, name, user, shown);
    return { answer: [name, version, ...(on === undefined ? [] : [on]), ...args].join(' '), reasoning: tip + way, leaf };
  };
  const missing = scenes.map((_, i) => `image${i + 1}`).find((name) => !done.includes(`describe ${name}`));
  if (policy.tips.has('describe') && scenes.length > 1 && missing !== undefined) return call('describe', missing, [], `tip describe ${missing} `);
  const box = ['box', image, ...rest.slice(1)].join(' ');
  if (policy.tips.has('box') && tool === 'attribute' && !done.includes(box)) return { answer: box, reasoning: `tip box ${image}`, leaf: undefined };
  return call(tool, image, rest, '');
}

const options = fc.record(
  { seed: fc.integer({ min: 0, max: 1e6 }), tools: fc.integer({ min: 1, max: 7 }), depth: fc.integer({ min: 1, max: 4 }), images: fc.boolean(), tips: fc.boolean() },
  { requiredKeys: ['seed'] },
) as fc.Arbitrary<SampleCompactGtaOptions>;

function scenesFor(seed: number, count: number): Scene[] {
  return randomStream(seed, 'scenes').sample(SCENES, count);
}

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof DatasetError ? error.code : 'other';
  }
  return 'none';
}

function agrees(rules: GtaRules, policy: CompactGtaPolicy): void {
  const read = readPolicy(policy.text);
  for (const { tool } of policy.tools) {
    for (const profile of PROFILES) {
      for (const maths of [false, true]) {
        const shown = new Set(maths ? [COMPACT_MATH_VALUE] : []);
        const { name } = resolveTool(rules, TYPES[tool], { ...profile, hasMath: maths ? 'yes' : 'no' });
        const own = resolveCompactGta(policy, tool, profile, shown)?.leaf;
        const version = name === 'MathOCR' ? 'math' : `v${name.split('_v')[1]}`;
        if (own?.version !== version || follow(read, tool, { ...profile, account: profile.account_type }, shown).leaf !== own.id) {
          expect.fail(`${tool} of ${JSON.stringify(profile)}: ${own?.version} instead of ${version}`);
        }
      }
    }
  }
}

describe('compact GTAPolicy: policies', () => {
  it('random policies decide every user once, with every leaf in use, in words of the vocabulary', () => {
    fc.assert(
      fc.property(options, (given) => {
        const policy = sampleCompactGta(given);
        const read = readPolicy(policy.text);
        expect(split(policy.text).filter((word) => !WORDS.has(word))).toEqual([]);
        expect(read.entries.size).toBe(given.tools ?? 7);
        expect(policy.text).not.toMatch(/credits c1000|age a85/);
        if (given.images === false) expect(policy.text).not.toContain('image');
        expect(policy.text).not.toMatch(/account A B C D/);
        for (const rules of policy.tools) {
          const versions = rules.cases.map((own) => own.leaf.version);
          expect(versions.toSorted()).toEqual(versions.map((_, i) => `v${i + 1}`).toSorted());
          expect(versions.length).toBeGreaterThan(1);
          for (const own of rules.cases) {
            expect(own.path.length).toBeLessThanOrEqual(given.depth ?? 3);
            const shown = new Set([...own.region.shown].filter(([, wanted]) => wanted).map(([value]) => value));
            const { credits, age, accounts } = own.region;
            const users = PROFILES.filter((user) => follow(read, rules.tool, { account: user.account_type, credits: user.credits, age: user.age }, shown).leaf === own.leaf.id);
            expect(users.length).toBe((credits[1] - credits[0] + 1) * (age[1] - age[0] + 1) * accounts.length);
            expect(users.length).toBeGreaterThan(0);
          }
        }
        for (const tip of ['describe', 'box'] as const) {
          const possible = read.entries.has(tip === 'box' ? 'attribute' : 'describe');
          if (given.tips !== undefined) expect(policy.tips[tip]).toBe(possible && given.tips);
          expect(read.tips.has(tip)).toBe(policy.tips[tip]);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('an image condition can go either way: no value is asked that the way has already decided', () => {
    for (let seed = 0; seed < 300; seed++) {
      for (const { cases } of sampleCompactGta({ seed, depth: 4, tools: 3 }).tools) {
        for (const { path, region } of cases) {
          const values = path.flatMap(({ node }) => (node.condition.kind === 'image' ? [node.condition.value] : []));
          expect(region.shown.size).toBe(values.length);
          for (const group of [['small', 'large'], ['rubber', 'metal'], ['cube', 'sphere', 'cylinder']] as const) expect(group.every((value) => region.shown.get(value) === false)).toBe(false);
        }
      }
    }
  });

  it("the paper's rules as trees resolve as the rules do on every user of the grid", () => {
    const policy = compactPaperGta();
    agrees(PAPER_RULES, policy);
    expect(policy.tools.map((rules) => rules.tool).toSorted()).toEqual([...COMPACT_GTA_TOOLS].toSorted());
    expect(policy.tools.map((rules) => rules.cases.length).toSorted()).toEqual([2, 3, 3, 3, 4, 5, 6]);
    expect(policy.tips).toEqual({ describe: true, box: true });
    expect(split(policy.text).filter((word) => !WORDS.has(word))).toEqual([]);
    expect(policy.text).toMatch(/ocr n\d+ ; n\d+ image red n(\d+) n\d+ ; n\1 math ;/);
    expect(compactPaperGta(1).text).not.toBe(policy.text);
    expect(compactPaperGta(0)).toEqual(policy);
  });

  it('so do generated rules; rules without words are refused', () => {
    for (let seed = 0; seed < 8; seed++) {
      const rules = generateRules({ seed, size: seed % 2 === 0 ? 'small' : 'medium' });
      agrees(rules, compactGtaFromRules(rules, seed));
    }
    expect(code(() => compactGtaFromRules(generateRules({ seed: 1, size: 'large' })))).toBe('invalidArgument');
    expect(code(() => compactGtaFromRules({ ...PAPER_RULES, bullets: [] }))).toBe('invalidArgument');
    expect(code(() => compactGtaFromRules({ ...PAPER_RULES, bullets: PAPER_RULES.bullets.filter((b) => b.id !== 'OCR.1') }))).toBe('invalidArgument');
    const overlap = PAPER_RULES.bullets.map((b) => (b.id === 'ImageStylization.2' ? { ...b, when: [{ field: 'age', low: 13, high: 59 }] } : b));
    expect(code(() => compactGtaFromRules({ ...PAPER_RULES, bullets: overlap }))).toBe('invalidArgument');
  });

  it('options out of range are refused', () => {
    for (const bad of [{ tools: 0 }, { tools: 8 }, { depth: 0 }, { depth: 5 }]) expect(code(() => sampleCompactGta({ seed: 0, ...bad }))).toBe('invalidArgument');
  });
});

describe('compact GTAPolicy: questions', () => {
  it('a second opinion from the text alone gives the same call, way and leaf, 2,000 times', () => {
    const random = randomStream('opinion');
    const seen = new Set<string>();
    for (let i = 0; i < 2000; i++) {
      const policy = i % 10 === 0 ? compactPaperGta(i) : sampleCompactGta({ seed: i, tools: 1 + (i % 7), depth: 1 + (i % 4) });
      const scenes = scenesFor(i, 1 + (i % 3));
      const question = compactGtaQuestion(policy, scenes, random);
      const own = expected(policy.text, question.query, scenes);
      expect({ answer: question.answer, reasoning: question.reasoning, leaf: question.leaf }).toEqual(own);
      expect(question.tip).toBe(/^tip (\w+)/.exec(own.reasoning)?.[1]);
      expect(split(`${question.query} ${question.response}`).filter((word) => !WORDS.has(word))).toEqual([]);
      expect(question.response).toBe(`<think> ${own.reasoning} </think> \\boxed{ ${own.answer} }`);
      expect(question.images).toBe(scenes.length);
      seen.add(`${question.gold.tool} ${question.tip ?? ''}`);
    }
    expect(seen.size).toBe(9);
  });

  it('right responses score 1; wrong versions, images and missing words as stated', () => {
    fc.assert(
      fc.property(options, fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 1, max: 3 }), (given, seed, count) => {
        const { response, answer, gold } = compactGtaQuestion(sampleCompactGta(given), scenesFor(seed, count), randomStream(seed));
        const boxed = (text: string): string => response.replace(`{ ${answer} }`, `{ ${text} }`);
        const fields = Object.keys(gold.arguments).length;
        expect(scoreCompactGta(response, gold)).toEqual({ tool: 1, arguments: 1, accuracy: 1, format: 1 });
        expect(parseCompactGtaCall(response)).toEqual(gold);
        expect(parseResponse(response).wellFormed).toBe(true);
        const other = split(answer).map((word) => (/^v\d+$/.test(word) ? (word === 'v1' ? 'v2' : 'v1') : word)).join(' ');
        if (gold.version !== undefined) {
          expect(scoreCompactGta(boxed(other), gold)).toEqual({ tool: 0, arguments: 0, accuracy: 0, format: 1 });
          expect(scoreCompactGta(boxed(answer.replace(` ${gold.version}`, '')), gold)).toEqual({ tool: 0, arguments: 0, accuracy: 0, format: 0 });
        }
        if (gold.arguments.image !== undefined) {
          const share = (fields - 1) / fields;
          const moved = answer.replace(gold.arguments.image, gold.arguments.image === 'image1' ? 'image2' : 'image1');
          expect(scoreCompactGta(boxed(moved), gold)).toEqual({ tool: 1, arguments: share, accuracy: 0.5 + 0.5 * share, format: 1 });
          expect(scoreCompactGta(boxed(answer.replace(` ${gold.arguments.image}`, '')), gold)).toEqual({ tool: 1, arguments: share, accuracy: 0.5 + 0.5 * share, format: 0 });
        }
        const share = fields / (fields + 1);
        expect(scoreCompactGta(boxed(`${answer} yes`), gold)).toEqual({ tool: 1, arguments: share, accuracy: 0.5 + 0.5 * share, format: 0 });
        expect(scoreCompactGta(response.replace('</think> ', ''), gold).format).toBe(0);
        expect(scoreCompactGta(`${response} so`, gold)).toEqual({ tool: 1, arguments: 1, accuracy: 1, format: 0 });
        expect(scoreCompactGta(`\\boxed{ ${answer} }`, gold)).toEqual({ tool: 1, arguments: 1, accuracy: 1, format: 0 });
      }),
      { numRuns: 150 },
    );
  });

  it('scoring never throws', () => {
    const gold = { tool: 'count', version: 'v2', arguments: { image: 'image1', object: 'red sphere' } } as const;
    const pieces = fc.array(fc.constantFrom('<think>', '</think>', '\\boxed{', '}', ' ', 'count', 'v2', 'image1', 'red', 'constructor', '__proto__', 'box', '\n'), { maxLength: 20 }).map((list) => list.join(' '));
    fc.assert(
      fc.property(fc.oneof(fc.string(), pieces), (text) => {
        const score = scoreCompactGta(text, gold);
        expect(score.accuracy).toBe(0.5 * score.tool + 0.5 * score.arguments);
        parseCompactGtaCall(text);
      }),
    );
    expect(scoreCompactGta('<think> a </think> \\boxed{ count v2 image1 red }', gold)).toEqual({ tool: 1, arguments: 0.5, accuracy: 0.75, format: 1 });
    expect(scoreCompactGta('<think> a </think> \\boxed{ ocr v2 image1 }', gold)).toEqual({ tool: 0, arguments: 0, accuracy: 0, format: 1 });
  });

  it('tools and their leaves are balanced, and a quarter of several images ask for a description', () => {
    const policy = sampleCompactGta({ seed: 5, depth: 2, images: false, tips: true });
    const random = randomStream('balance');
    const draws = 20000;
    const questions = Array.from({ length: draws }, (_, i) => compactGtaQuestion(policy, SCENES.slice(i % 50, (i % 50) + 1), random));
    const counts = new Map<string, number>();
    for (const { leaf, tool } of questions) counts.set(leaf ?? tool, (counts.get(leaf ?? tool) ?? 0) + 1);
    expect((counts.get('box') ?? 0) / draws).toBeCloseTo(1 / 8, 1);
    for (const { cases } of policy.tools) {
      for (const { leaf } of cases) {
        const wanted = draws / 8 / cases.length;
        expect(Math.abs((counts.get(leaf.id) ?? 0) - wanted)).toBeLessThan(5 * Math.sqrt(wanted));
      }
    }
    const several: CompactGtaQuestion[] = Array.from({ length: 4000 }, (_, i) => compactGtaQuestion(policy, scenesFor(i, 2 + (i % 2)), random));
    expect(Math.abs(several.filter((question) => question.tip === 'describe').length / 4000 - 0.25)).toBeLessThan(0.035);
    expect(questions.some((question) => question.tip === 'describe')).toBe(false);
    // An image condition: uniform over the leaves that the image at hand can reach.
    const shown = compactPaperGta();
    const ocr = shown.tools.find((rules) => rules.tool === 'ocr')?.cases ?? [];
    for (const red of [true, false]) {
      const pool = SCENES.filter((scene) => sceneValues(scene).has(COMPACT_MATH_VALUE) === red);
      const leaves = Array.from({ length: 4000 }, (_, i) => compactGtaQuestion(shown, [pool[i % pool.length] as Scene], random)).filter((q) => q.tool === 'ocr');
      const own = ocr.filter((c) => (c.leaf.version === 'math') === red);
      for (const { leaf } of own) expect(Math.abs(leaves.filter((q) => q.leaf === leaf.id).length / leaves.length - 1 / own.length)).toBeLessThan(0.1);
    }
  });

  it('a drill asks every decision of the text about users once, and a second opinion from the text decides it likewise', () => {
    const random = randomStream('drill');
    const outcomes = { yes: 0, no: 0, edges: 0, numbers: 0 };
    for (let i = 0; i < 400; i++) {
      const policy = i % 10 === 0 ? compactPaperGta(i) : sampleCompactGta({ seed: i, tools: 1 + (i % 7), depth: 1 + (i % 4) });
      const { query, decisions } = compactGtaDrill(policy, random);
      const read = readPolicy(policy.text);
      const match = /^policy (\w+ \w+) \? user account ([A-D]) credits c(\d+) age a(\d+)$/.exec(query) as RegExpExecArray;
      expect(match[1]).toBe(read.name);
      const user = { account: match[2] as string, credits: Number(match[3]), age: Number(match[4]) };
      const asked = decisions.map(({ asked: words, decided }) => {
        const [id, ...condition] = split(words.replace(/ \?$/, ''));
        const node = read.nodes.get(id as string) as string[];
        expect(condition).toEqual(node.slice(0, -2));
        const holds = truth(condition, user, new Set());
        expect(decided).toBe(holds ? `yes ${node.at(-2)}` : `no ${node.at(-1)}`);
        outcomes[holds ? 'yes' : 'no']++;
        if (condition[0] === 'credits') {
          outcomes.numbers++;
          if ([0, 50].includes(user.credits - Number(condition[1]?.slice(1)))) outcomes.edges++;
        }
        return id as string;
      });
      expect(asked.toSorted()).toEqual([...read.nodes].filter(([, words]) => words.length > 1 && words[0] !== 'image').map(([id]) => id).toSorted());
      expect([query, ...decisions.flatMap((d) => [d.asked, d.decided])].flatMap(split).filter((word) => !WORDS.has(word))).toEqual([]);
    }
    expect(outcomes.yes / (outcomes.yes + outcomes.no)).toBeGreaterThan(0.35);
    expect(outcomes.no / (outcomes.yes + outcomes.no)).toBeGreaterThan(0.35);
    // By chance alone one in ten would be at its threshold.
    expect(outcomes.edges / outcomes.numbers).toBeGreaterThan(0.15);
  });

  it('bad numbers of scenes and unreachable leaves are refused', () => {
    const policy = compactPaperGta();
    expect(code(() => compactGtaQuestion(policy, [], randomStream(0)))).toBe('invalidArgument');
    expect(code(() => compactGtaQuestion(policy, SCENES.slice(0, 4), randomStream(0)))).toBe('invalidArgument');
    expect(code(() => compactGtaQuestion(policy, SCENES.slice(0, 1), randomStream(0), { leaves: new Set(['x']) }))).toBe('invalidArgument');
    const math = policy.tools.flatMap((rules) => rules.cases).find((own) => own.leaf.version === 'math')?.leaf.id as string;
    const plain = SCENES.filter((scene) => !sceneValues(scene).has(COMPACT_MATH_VALUE)).slice(0, 1);
    expect(code(() => compactGtaQuestion(policy, plain, randomStream(0), { leaves: new Set([math]), box: false }))).toBe('unsatisfiable');
  });

  it('the vocabulary has each word once and none of the other one', () => {
    const words = compactGtaVocabulary();
    expect(new Set(words).size).toBe(words.length);
    expect(words.filter((word) => compactVocabulary().includes(word) || /\s/.test(word))).toEqual([]);
  });
});

describe('compact GTAPolicy: dataset', () => {
  const config = { ...TINY_SCENES, seed: 3, train: 400, test: 90, reasoned: 10 };

  it('examples are pure, labelled right by the second opinion, and the splits share nothing', () => {
    for (const policy of ['paper', { seed: 2, tools: 5, depth: 2 }, { seed: 4, tools: 1, depth: 1 }] as const) {
      const data = compactGta({ ...config, policy });
      const scenes = { train: new Set<string>(), test: new Set<string>() };
      for (const part of ['train', 'test'] as const) {
        for (const example of data.stream(part)) {
          const own = expected(example.policyText, example.query, example.scenes);
          expect([example.answer, example.reasoning, example.leaf]).toEqual([own.answer, own.reasoning, own.leaf]);
          expect(scoreCompactGta(example.response, example.gold).accuracy).toBe(1);
          expect(example.images.length).toBe(example.scenes.length);
          expect(example.reasoned).toBe(part === 'train' && example.index < 10);
          for (const scene of example.scenes) scenes[part].add(JSON.stringify(scene.objects));
        }
      }
      expect([...scenes.train].filter((scene) => scenes.test.has(scene))).toEqual([]);
      expect(scenes.train.size).toBeGreaterThan(700);
    }
    const again = compactGta({ ...config, train: 1e6 });
    const data = compactGta(config);
    for (const i of [7, 399, 0]) expect({ ...again.example('train', i), images: 0 }).toEqual({ ...data.example('train', i), images: 0 });
    const [image] = data.example('test', 1).images;
    expect([image?.width, image?.height, image?.rgb.length]).toEqual([112, 56, 112 * 56 * 3]);
    expect(again.example('test', 1).images[0]?.rgb).toEqual(image?.rgb);
  });

  it('one leaf of each tool with three or more is kept for the slice unseenCell, and thresholds for boundary', () => {
    for (const policy of ['paper', { seed: 8, tools: 7, depth: 3 }] as const) {
      const data = compactGta({ ...config, policy });
      expect(data.slices).toEqual(['iid', 'boundary', 'unseenCell']);
      for (const { cases } of data.policy.tools) expect(cases.filter((own) => data.heldOut.has(own.leaf.id)).length).toBe(cases.length < 3 ? 0 : 1);
      for (const example of data.stream('train')) {
        expect(example.slice).toBe('iid');
        expect(data.heldOut.has(example.leaf ?? '')).toBe(false);
      }
      for (const example of data.stream('test')) {
        expect(example.slice).toBe(data.slices[example.index % 3]);
        expect(data.heldOut.has(example.leaf ?? '')).toBe(example.slice === 'unseenCell');
        if (example.slice !== 'boundary') continue;
        const rules = data.policy.tools.find((own) => own.cases.some((c) => c.leaf.id === example.leaf));
        const shown = sceneValues(example.scenes[Number((example.gold.arguments.image ?? 'image1').slice(5)) - 1] as Scene);
        const flips = (['credits', 'age'] as const).some((kind) => {
          const step = kind === 'credits' ? 50 : 5;
          return [-step, step].some((d) => {
            const moved = { ...example.profile, [kind]: example.profile[kind] + d };
            return resolveCompactGta(data.policy, rules?.tool as CompactGtaTool, moved, shown)?.leaf.id !== example.leaf;
          });
        });
        expect(flips).toBe(true);
      }
    }
  });

  it('slices that a policy lacks are left out; bad configs are refused', () => {
    for (let seed = 0; seed < 12; seed++) {
      const data = compactGta({ ...config, policy: { seed, tools: 1, depth: 1 } });
      expect(data.heldOut.size).toBe(0);
      expect(data.slices).not.toContain('unseenCell');
      expect(data.slices.includes('boundary')).toBe(/ (credits|age) /.test(data.policy.text));
    }
    expect(code(() => compactGta({ policy: 'other' as 'paper' }))).toBe('invalidArgument');
    expect(code(() => compactGta({ images: 4 }))).toBe('invalidArgument');
    expect(code(() => compactGta(config).example('train', 400))).toBe('invalidArgument');
    expect(compactGta({ ...config, images: 1 }).example('train', 5).images.length).toBe(1);
  });
});
