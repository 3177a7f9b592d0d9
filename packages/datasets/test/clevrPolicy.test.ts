import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  branchingError, captionScene, citedConditions, clevrOverride, clevrPolicy, compactVocabulary, conditionPhrase, DatasetError, evaluateProgram,
  evaluateTree, existenceQuestions, firstWrongNode, INVALID, labelByProgram, leafPaths, lookupDrill, matches, modelReasoning, objectCells,
  paperPreset, paraphrasePolicy, policyQuestions, pretrainScene, randomPolicyExample, sampleTree, scoreClevrPolicy, scoreOverride, scoreReferral,
  shortcutBaselines, TINY_SCENES, type ClevrPolicyConfig,
} from '../src/index.ts';

const by = (color: string) => [{ type: 'scene' }, { type: 'filter_color', inputs: [0], value_inputs: [color] }];
describe('sampleTree', () => {
  it('has the paper\'s numbers of outcomes whatever the seed', () => {
    const counts = { 1: 2, 2: 4, 3: 8, 4: 16, 5: 31, 6: 55, 7: 87, 8: 123 } as const;
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 8 }), (seed, depth) => {
        const tree = sampleTree({ depth, seed });
        expect(tree.leaves.length).toBe(counts[depth as keyof typeof counts]);
        expect(tree.leaves.map((leaf) => leaf.case).toSorted((a, b) => a - b)).toEqual(tree.leaves.map((_, i) => i));
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it('never repeats a closed attribute or a refused value on a path', () => {
    for (let seed = 0; seed < 30; seed++) {
      for (const path of leafPaths(sampleTree({ depth: 6, seed }))) {
        const closed = new Set<string>();
        const refused = new Set<string>();
        for (const { node, outcome } of path) {
          expect(node.asked).toBeDefined();
          const { attribute, value } = node.asked as NonNullable<typeof node.asked>;
          expect(closed.has(attribute)).toBe(false);
          expect(refused.has(value)).toBe(false);
          if (outcome) closed.add(attribute);
          else refused.add(value);
        }
      }
    }
  });

  it('is wholly reachable in mode reachable', () => {
    for (const n of [2, 4, 6]) {
      for (const policy of clevrPolicy({ n, tree: 'reachable', policies: 5, seed: 3 }).policies) {
        expect(policy.reachable.length).toBe(policy.tree.leaves.length);
      }
    }
  });

  it.each([{ depth: 0 }, { depth: 9 }, { depth: 2.5 }, { depth: Number.NaN }])('refuses %j', (options) => {
    expect(() => sampleTree({ ...options, seed: 1 })).toThrow(DatasetError);
  });
});

const small = { width: 112, height: 84, train: 2000, test: 400, scene: { maxObjects: 6 } } satisfies ClevrPolicyConfig;

describe('clevrPolicy', () => {
  it.each<ClevrPolicyConfig>([
    { ...small, n: 6, seed: 1 },
    { ...small, n: [2, 4], seed: 2, semantics: 'independent' },
    { ...small, n: 4, seed: 3, tree: 'reachable', sampling: 'natural' },
    { ...small, n: 3, seed: 4, tree: 'rich', policies: 3 },
    { ...small, n: 4, seed: 5, variant: 'm' },
  ])('labels agree with CLEVR programs: %j', (config) => {
    const data = clevrPolicy(config);
    for (let i = 0; i < 150; i++) {
      const example = data.example('train', i);
      const policy = data.policies[i % data.policies.length];
      expect(example.answer).toBe(labelByProgram(policy?.tree ?? sampleTree({ depth: 1, seed: 0 }), example.scene));
      expect(scoreClevrPolicy(example.response, example.answer)).toEqual({ accuracy: 1, format: 1 });
      expect(example.query).toContain(example.policyName);
      expect(example.query).not.toMatch(/Case|Condition|sphere|cube|cylinder|red|metal/);
    }
  });

  it('reaches every reachable leaf equally often, to within one', () => {
    const data = clevrPolicy({ ...small, n: 4, policies: 2, seed: 7 });
    for (const [p, policy] of data.policies.entries()) {
      const counts = new Map<number, number>();
      for (let i = p; i < 400; i += 2) counts.set(data.example('train', i).leaf, (counts.get(data.example('train', i).leaf) ?? 0) + 1);
      expect([...counts.keys()].toSorted((a, b) => a - b)).toEqual([...policy.reachable]);
      expect(Math.max(...counts.values()) - Math.min(...counts.values())).toBeLessThanOrEqual(1);
    }
  });

  it('gives item i alone, in any order', () => {
    const forward = clevrPolicy({ ...small, n: 6, seed: 9 });
    const direct = clevrPolicy({ ...small, n: 6, seed: 9 });
    const items = Array.from({ length: 20 }, (_, i) => forward.example('train', i));
    expect(direct.example('train', 17).scene).toEqual(items[17]?.scene);
    expect(direct.example('train', 3).response).toBe(items[3]?.response);
    expect(direct.example('train', 3).images[0]?.rgb).toEqual(items[3]?.images[0]?.rgb);
  });

  it('shares no scene between train and test, and no wording when paraphrased', () => {
    const data = clevrPolicy({ ...small, n: 4, seed: 11, queries: 'paraphrased' });
    const key = (e: ReturnType<typeof data.example>): string => JSON.stringify(e.scene.objects);
    const wording = (e: ReturnType<typeof data.example>): string => e.query.replace(e.policyName, '');
    const train = Array.from({ length: 400 }, (_, i) => data.example('train', i));
    const test = Array.from({ length: 400 }, (_, i) => data.example('test', i));
    const seen = new Set(train.map(key));
    expect(seen.size).toBe(400);
    expect(test.some((e) => seen.has(key(e)))).toBe(false);
    const words = new Set(train.map(wording));
    expect(words.size).toBeGreaterThan(3);
    expect(test.some((e) => words.has(wording(e)))).toBe(false);
  });

  it('follows its own text: an interpreter of the canonical prose reaches the same case', () => {
    const data = clevrPolicy({ ...small, n: 6, seed: 13 });
    for (let i = 0; i < 100; i++) {
      const { policyText, scene, answer } = data.example('test', i);
      const sections = new Map([...policyText.matchAll(/# Condition ([\d.]+): Check if the image contains any (.*)s\.\n- If yes, (.*)\.\n- If no, (.*)\./g)].map((m) => [m[1], m]));
      let id: string | undefined = '1';
      let result = '';
      while (id !== undefined) {
        const section = sections.get(id);
        if (!section) throw new Error(`no section ${id}`);
        const words = (section[2] as string).split(' ').filter((word) => word !== 'object');
        const yes = scene.objects.some((o) => words.every((word) => [o.size, o.color, o.material, o.shape].includes(word as never)));
        const goal = section[yes ? 3 : 4] as string;
        id = /Condition ([\d.]+)$/.exec(goal)?.[1];
        result = /"(.*)"/.exec(goal)?.[1] ?? '';
      }
      expect(result).toBe(answer);
    }
  });

  it('has the paper\'s sizes in its preset', () => {
    const { config, policies } = clevrPolicy(paperPreset(2));
    expect([config.train, config.test, config.reasoned, policies.length, config.width]).toEqual([20000, 2000, 2526, 10, 480]);
    expect(new Set(policies.map((p) => p.name)).size).toBe(10);
    expect(policies.every((p) => /^L1-[A-Z][a-z]+$/.test(p.name))).toBe(true);
  });

  it.each([
    [{ n: 0 }, 'n is 0'], [{ seed: 0.5 }, 'seed or index is 0.5'], [{ n: [] }, 'n is empty'], [{ style: 'compact', n: 7 }, 'n is 7'], [{ variant: 'x' }, 'variant is "x"'],
    [{ train: -1 }, 'train is -1'], [{ width: 3 }, 'width is 3'], [{ style: 'compact', tree: 'rich', n: 2 }, 'compact'],
  ])('refuses %j', (config, message) => {
    expect(() => clevrPolicy(config as ClevrPolicyConfig)).toThrow(message as string);
  });

  it('refuses an index outside the split', () => {
    expect(() => clevrPolicy({ ...small, n: 2 }).example('test', 400)).toThrow('index is 400');
  });

  it('shows values as crops in variant M and hides their words below', () => {
    const data = clevrPolicy({ ...small, n: 6, variant: 'm', seed: 21 });
    for (const policy of data.policies) {
      const slots = policy.text.split('<image>').length - 1;
      expect(slots).toBe(policy.images.length);
      expect(slots).toBeGreaterThan(0);
      expect(policy.parts.filter((part) => part.type === 'image').length).toBe(slots);
      for (const [, id, attribute] of policy.text.matchAll(/# Condition ([\d.]+): [^\n]*of the same (color|shape|material) as the object shown here/g)) {
        const node = policy.tree.nodes.find((n) => n.id === id);
        const value = node?.asked?.value ?? '';
        expect(node?.asked?.attribute).toBe(attribute);
        for (const [line] of policy.text.matchAll(new RegExp(`# Condition ${id?.replaceAll('.', '\\.')}(\\.1[\\d.]*)?: [^\\n]*`, 'g'))) expect(line).not.toMatch(new RegExp(`\\b${value}s?\\b`));
      }
    }
    expect(data.policies[0]?.images[0]?.rgb.length).toBe(84 * 84 * 3);
  });
});

describe('compact style', () => {
  const data = clevrPolicy({ ...TINY_SCENES, n: [2, 3, 4], style: 'compact', policies: 8, seed: 5 });
  const vocabulary = new Set(compactVocabulary());

  it('is spelt by its vocabulary of at most 160 words', () => {
    expect(vocabulary.size).toBe(compactVocabulary().length);
    expect(vocabulary.size).toBeLessThanOrEqual(160);
    const check = (text: string): void => {
      for (const word of text.split(' ')) expect(vocabulary.has(word), word).toBe(true);
    };
    for (let i = 0; i < 100; i++) {
      const e = data.example('train', i);
      [e.policyText, e.query, e.response, e.reverseReasoning].forEach(check);
      check(captionScene(e.scene, TINY_SCENES));
      existenceQuestions(e.scene, { seed: i, count: 4 }).forEach((q) => check(`${q.question} ${q.answer}`));
      const r = randomPolicyExample({ ...TINY_SCENES, n: [1, 2, 3, 4] }, i);
      [r.policyText, r.query, r.response].forEach(check);
      check(lookupDrill({ depth: 3, seed: 1, index: i }).policyText);
    }
  });

  it('has 4 + 3 (nodes + leaves) words a policy', () => {
    for (const policy of data.policies) expect(policy.text.split(' ').length).toBe(4 + 3 * (policy.tree.nodes.length + policy.tree.leaves.length));
    expect(data.policies[0]?.text.split(' ').length).toBe(25);
  });

  it('reasons in the words of true existence questions', () => {
    for (let i = 0; i < 200; i++) {
      const e = data.example('test', i);
      for (const [, words, outcome] of e.reasoning.matchAll(/ask ([a-z ]+) \? (yes|no)/g)) {
        const present = e.scene.objects.some((o) => (words as string).split(' ').every((w) => [o.size, o.color, o.material, o.shape].includes(w as never)));
        expect(present).toBe(outcome === 'yes');
      }
      expect(scoreClevrPolicy(e.response, e.answer)).toEqual({ accuracy: 1, format: 1 });
      expect(e.policyText).toContain(` ${e.leafId} ${e.answer} ;`);
    }
  });

  it('asks near-miss questions, half of them true, and answers them truly', () => {
    const { scene } = pretrainScene({ ...TINY_SCENES, n: 2, seed: 3 }, 0);
    const questions = existenceQuestions(scene, { seed: 1, count: 200 });
    expect(questions.filter((q) => q.answer === 'yes').length).toBe(100);
    for (const { filter, answer } of questions) {
      expect(scene.objects.some((o) => matches(o, filter))).toBe(answer === 'yes');
      const misses = scene.objects.map((o) => Object.entries(filter).filter(([k, v]) => o[k as 'size'] !== v).length);
      expect(Math.min(...misses)).toBe(answer === 'yes' ? 0 : 1);
    }
  });

  it('places every object of a scene in at most one cell', () => {
    for (let i = 0; i < 50; i++) {
      const { scene, image } = pretrainScene({ ...TINY_SCENES, n: 2 }, i);
      const cells = [...objectCells(scene, TINY_SCENES)].filter((object) => object >= 0);
      expect(cells.length).toBe(new Set(cells).size);
      expect(cells.length).toBeLessThanOrEqual(scene.objects.length);
      if (i === 0) expect(image.rgb.length).toBe(112 * 56 * 3);
    }
  });
});

describe('scoreClevrPolicy', () => {
  const right = '<think>Condition 1 ...</think>\\boxed{Case 3}';
  it.each([
    [right, 1, 1],
    ['<think>a</think>\n\\boxed{ Case 3 }\n', 1, 1],
    ['\\boxed{Case 3}', 1, 0],
    ['<think>a</think>\\boxed{Case 4}', 0, 1],
    ['<think>a</think>\\boxed{Case 3}\\boxed{Case 4}', 0, 0],
    ['<think>a</think>\\boxed{Case 3}\\boxed{Case 3}', 0, 0],
    ['<think>\\boxed{Case 3}</think>', 0, 0],
    ['<think>\\boxed{Case 3}', 0, 0],
    ['<think>a</think><think>b</think>\\boxed{Case 3}', 1, 0],
    ['</think>\\boxed{Case 3}<think>', 1, 0],
    ['<think>a</think>\\boxed{Case 3', 0, 0],
    ['<think>a</think>\\boxed{Case 1 Case 2 Case 3}', 0, 1],
    ['<think>a</think>\\boxed{\u0421ase 3}', 0, 1],
    ['<think>a</think>\\boxed{Case \uFF13}', 0, 1],
    ['<think>a</think>\\boxed{case 3}', 0, 1],
    ['<think>a</think>\\boxed{Case 3} or Case 4', 1, 0],
    ['<think>a</think>Case 3', 0, 0],
    ['', 0, 0],
  ])('%s', (completion, accuracy, format) => {
    expect(scoreClevrPolicy(completion, 'Case 3')).toEqual({ accuracy, format });
  });
  it('never throws and is never right by accident', () => {
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => {
      expect(scoreClevrPolicy(text, 'Case 3').accuracy).toBe(0);
    }), { numRuns: 300, seed: 2 });
    const start = performance.now();
    scoreClevrPolicy('<think></think>' + '\\boxed{'.repeat(50000), 'Case 3');
    scoreClevrPolicy('\\boxed{"}'.repeat(50000), 'Case 3');
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe('updates, metrics, baselines', () => {
  const config = { ...small, n: 4, seed: 31, policies: 4 } satisfies ClevrPolicyConfig;
  it.each(['all', 'part'] as const)('override (%s) always changes the answer, controls never', (kind) => {
    const changed = clevrOverride(config, { kind });
    const control = clevrOverride(config, { kind, controls: 1 });
    for (let i = 0; i < 60; i++) {
      const e = changed.example('test', i);
      const old = changed.base.policies[i % 4];
      expect(e.answer).toBe(labelByProgram(changed.policies[i % 4]?.tree ?? sampleTree({ depth: 1, seed: 0 }), e.scene));
      expect(e.oldAnswer).toBe(evaluateTree(old?.tree ?? sampleTree({ depth: 1, seed: 0 }), e.scene).answer);
      expect(e.oldAnswer).not.toBe(e.answer);
      expect(e.query).toContain(`updated Policy: ${e.policyName}`);
      expect(scoreOverride(`<think>a</think>\\boxed{${e.oldAnswer}}`, e)).toEqual({ accuracy: 0, stubborn: 1 });
      expect(scoreOverride(e.response, e).accuracy).toBe(1);
      const c = control.example('test', i);
      expect(c.oldAnswer).toBe(c.answer);
    }
    expect(changed.policies.map((p) => p.name)).toEqual(changed.base.policies.map((p) => p.name));
  });

  it('reads paths, branching error and referral', () => {
    const data = clevrPolicy(config);
    const e = data.example('test', 0);
    const policy = data.policies[0];
    if (!policy) throw new Error('a policy expected');
    expect(firstWrongNode(e.response, e.path)).toBeUndefined();
    expect(firstWrongNode('<think>Condition 1: x. Condition 1.1.1.1.1: y</think>', ['1', '1.2'])).toBe(1);
    expect(firstWrongNode('<think></think>', ['1'])).toBe(0);
    expect(citedConditions('Condition 1: a. Condition 1.2.1.')).toEqual(['1', '1.2.1']);
    expect(branchingError([e.response], [e.response]).averageAbsoluteDifference).toBe(0);
    // Two ids, one cited once too often and one once too little.
    expect(branchingError(['Condition 1: ok', 'Condition 1.1'], ['Condition 1', 'Condition 1.2']).averageAbsoluteDifference).toBeCloseTo(2 / 3);
    expect(scoreReferral(e.reasoning, policy.tree)).toMatchObject({ score: 10 });
    expect(scoreReferral(e.reverseReasoning, policy.tree)).toMatchObject({ score: 10 });
    const wrong = data.policies[1];
    if (wrong) expect(scoreReferral(e.reasoning, wrong.tree).score).toBeLessThan(7);
    expect(scoreReferral('I just know.', policy.tree).score).toBe(0);
    expect(policyQuestions(policy)[0]?.answer).toBe(conditionPhrase(policy.tree.root.condition));
    expect(policyQuestions(policy).length).toBe(3 * policy.tree.nodes.length);
    expect(paraphrasePolicy(policy, 1)).not.toBe(paraphrasePolicy(policy, 2));
  });

  it('keeps only right forward reasoning, and all reverse reasoning', async () => {
    const data = clevrPolicy(config);
    const examples = [0, 1, 2, 3].map((i) => data.example('train', i));
    let call = 0;
    const generate = (): Promise<string> => Promise.resolve(call++ % 2 === 0 ? (examples[call - 1]?.response ?? '') : '<think>x</think>\\boxed{Case 999}');
    const forward: string[] = [];
    for await (const { example } of modelReasoning(examples, { strategy: 'forward', generate })) forward.push(example.id);
    expect(forward).toEqual([examples[0]?.id, examples[2]?.id]);
    call = 0;
    let reverse = 0;
    for await (const _ of modelReasoning(examples, { strategy: 'reverse', generate })) reverse++;
    expect(reverse).toBe(4);
  });

  it('leaves shortcuts far below a reader of the policy', () => {
    const data = clevrPolicy({ ...small, n: 4, seed: 1, policies: 2, train: 2000 });
    const train = Array.from({ length: 1200 }, (_, i) => data.example('train', i));
    const test = Array.from({ length: 400 }, (_, i) => data.example('test', i));
    const b = shortcutBaselines(data.policies, train, test);
    expect(b.majority).toBeLessThan(b.chance * 1.5);
    expect(b.objectCount).toBeLessThan(b.chance * 2);
    expect(b.histogram).toBeLessThan(0.75);
    expect(b.histogram).toBeGreaterThan(b.majority);
  });
});

describe('CLEVR programs', () => {
  const scene = clevrPolicy({ ...small, n: 2, seed: 77 }).example('train', 4).scene;
  const n = scene.objects.length;
  it('runs sets, counts, comparisons and queries', () => {
    expect(evaluateProgram([{ type: 'scene' }, { type: 'count', inputs: [0] }], scene)).toBe(n);
    expect(evaluateProgram([{ function: 'scene', inputs: [] }, { function: 'unique', inputs: [0] }], scene)).toBe(INVALID);
    const left = [...scene.relationships.left.keys()].filter((i) => scene.relationships.left[i]?.length === 0);
    expect(left.length).toBe(1);
    for (let i = 0; i < n; i++) {
      const o = scene.objects[i];
      if (!o) continue;
      const alike = scene.objects.filter((p) => p.size === o.size && p.color === o.color && p.material === o.material && p.shape === o.shape).length;
      const program = [{ type: 'scene' }, { type: 'filter_unique', inputs: [0], side_inputs: [o.size, o.color, o.material, o.shape] }, { type: 'query_color', inputs: [1] }];
      expect(evaluateProgram(program, scene)).toBe(alike === 1 ? o.color : INVALID);
      if (alike !== 1) continue;
      const base = program.slice(0, 2);
      expect(evaluateProgram([...base, { type: 'relate', inputs: [1], value_inputs: ['left'] }, { type: 'count', inputs: [2] }], scene)).toBe(scene.relationships.left[i]?.length);
      expect(evaluateProgram([...base, { type: 'same_shape', inputs: [1] }, { type: 'count', inputs: [2] }], scene)).toBe(scene.objects.filter((p) => p.shape === o.shape).length - 1);
      expect(evaluateProgram([...base, { type: 'relate_filter_count', inputs: [1], side_inputs: ['right', '', '', '', ''] }], scene)).toBe(scene.relationships.right[i]?.length);
    }
    const union = [...by('red'), { type: 'scene' }, { type: 'filter_color', inputs: [2], value_inputs: ['blue'] }, { type: 'union', inputs: [1, 3] }, { type: 'count', inputs: [4] }];
    expect(evaluateProgram(union, scene)).toBe(scene.objects.filter((o) => o.color === 'red' || o.color === 'blue').length);
    expect(evaluateProgram([...union, { type: 'less_than', inputs: [5, 5] }], scene)).toBe(false);
  });
  it.each([
    [[]], [[{ type: 'nonsense' }]], [[{ type: 'count', inputs: [3] }]], [[{ type: 'scene' }, { type: 'relate', inputs: [0], value_inputs: ['up'] }]],
    [[{ type: 'scene' }, { type: 'filter_color', inputs: [0] }]],
  ])('refuses %j', (program) => {
    expect(() => evaluateProgram(program, scene)).toThrow(DatasetError);
  });
});
