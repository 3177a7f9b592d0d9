/**
 * @file What the package costs: `npx tsx packages/datasets/bench/datasets.bench.ts [examples to stream]`.
 * Prints one line a measurement; nothing is asserted.
 */
import { clevrPolicy, generateRules, generateScene, gtaPolicy, renderScene, shortcutBaselines, TINY_SCENES, type ClevrPolicyConfig } from '../src/index.ts';

const seconds = (work: () => void): number => {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
};
const say = (name: string, value: string): void => console.log(`${name.padEnd(58)} ${value}`);

const show = (value: number): string => (100 * value).toFixed(1);

for (const [width, height] of [[112, 84], [224, 168], [320, 240], [480, 320]] as const) {
  const scenes = Array.from({ length: 24 }, (_, i) => generateScene({}, 'bench', i));
  renderScene(scenes[0] as NonNullable<(typeof scenes)[0]>, { width, height });
  const time = seconds(() => {
    for (const scene of scenes) renderScene(scene, { width, height });
  });
  say(`render ${width}x${height}, 3 to 10 objects`, `${(24 / time).toFixed(1)} images/s`);
}

const stream = (name: string, config: ClevrPolicyConfig, count: number): void => {
  const data = clevrPolicy({ ...config, train: count });
  let characters = 0;
  const time = seconds(() => {
    for (const example of data.stream('train')) characters += example.query.length + example.response.length;
  });
  say(`${count} ClevrPolicy examples without images, ${name}`, `${time.toFixed(2)} s (${(characters / 1e6).toFixed(1)} M characters)`);
};
stream('N = 6', { n: 6 }, 20000);
stream('N = 6, 480x320', { n: 6, width: 480, height: 320 }, 20000);
stream('N = 4, compact, tiny scenes', { ...TINY_SCENES, n: 4, style: 'compact' }, 20000);

const gta = gtaPolicy({ train: 5000 });
say('5000 GTAPolicy instances without images', `${seconds(() => {
  for (const example of gta.stream('train')) if (example.answer === '') throw new Error('an answer expected');
}).toFixed(2)} s`);
say('a policy of 50,000 tokens, generated and proved', `${(1000 * seconds(() => {
  generateRules({ seed: 1, tokens: 50000 });
})).toFixed(0)} ms`);

for (const n of [2, 4, 6]) {
  const data = clevrPolicy({ n, policies: 4, train: 8000, test: 1000 });
  const b = shortcutBaselines(data.policies, [...data.stream('train')], [...data.stream('test')]);
  say(`shortcuts, N = ${n} (chance / majority / object count / histogram)`, `${show(b.chance)} / ${show(b.majority)} / ${show(b.objectCount)} / ${show(b.histogram)} %`);
}

const total = Number(process.argv[2] ?? 100000);
const data = clevrPolicy({ ...TINY_SCENES, n: 4, style: 'compact', train: total });
let done = 0;
let characters = 0;
const marks: string[] = [];
const time = seconds(() => {
  for (const example of data.stream('train')) {
    characters += example.response.length;
    if (++done % Math.max(1, Math.floor(total / 5)) === 0) {
      (globalThis as { gc?: () => void }).gc?.();
      marks.push(`${(process.memoryUsage().heapUsed / 1048576).toFixed(0)} MiB`);
    }
  }
});
say(`${total} compact examples streamed in ${time.toFixed(1)} s; heap on the way`, `${marks.join(', ')} (${characters} characters)`);
