/**
 * @file 8 rollouts each for 16 prompts that share a policy of 1,000 tokens: tokens read, and the time with and without
 * reading the policy once. Usage: npx tsx --conditions=@trimpi/source packages/model/bench/shared-prefix.ts
 */
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { generate, getRopeIndex, openCheckpoint, parseConfig, requireText, type TokenSequence, VisionLanguageModel } from '../src/index.ts';
import { folderFiles } from '../src/node.ts';

const files = folderFiles(fileURLToPath(new URL('../../pipeline/assets/tiny-base', import.meta.url)));
const config = parseConfig(JSON.parse(await requireText(files, 'config.json')));
const engine = new WebGpuEngine(await openDevice());
const model = new VisionLanguageModel(engine, config);
await model.load(await openCheckpoint(files));

const policy = Array.from({ length: 1000 }, (_, i) => 10 + ((i * 7919) % 400));
const prompts = Array.from({ length: 16 }, (_, p): TokenSequence => {
  const inputIds = [...policy, ...Array.from({ length: 24 }, (_, i) => 10 + ((p * 31 + i * 17) % 400))];
  return { inputIds, positionIds: getRopeIndex(inputIds, [], config).positionIds, images: [] };
});
const promptOf = Array.from({ length: 128 }, (_, i) => i >> 3);
const times: Record<'shared' | 'each', number[]> = { shared: [], each: [] };
const computed: Record<string, number> = {};
for (let round = 0; round < 6; round++) {
  for (const kind of ['shared', 'each'] as const) {
    const start = performance.now();
    await generate(model, prompts, { maxNewTokens: 16, stopIds: [], seed: 1, promptOf, sharePrefix: kind === 'shared', onPrefill: (t) => (computed[kind] = t.computed) });
    // The first round compiles.
    if (round > 0) times[kind].push(performance.now() - start);
  }
}
const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;
console.log(JSON.stringify({ tokensRead: computed, medianMs: { shared: median(times.shared), each: median(times.each) }, ratio: median(times.each) / median(times.shared), loadAverage: loadavg()[0] }));
engine.dispose();
