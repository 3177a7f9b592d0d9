/** @file What the page says of the bases, held against what they were trained on and their tokenizers. */
import { fileURLToPath } from 'node:url';
import { compactGtaVocabulary, compactVocabulary } from '@trimpi/datasets';
import { Tokenizer } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import { runDataset, SMALL_BASE_RECIPE, TINY_BASE_RECIPE, WordCodec } from '@trimpi/pipeline';
import { expect, it } from 'vitest';
import { baseFor, type BaseName, obstacle } from '../src/bases.ts';

it.each(['tiny', 'small'] as const)('offers the %s base for the depths and variants that it was trained on', async (name: BaseName) => {
  const codec = new WordCodec(await Tokenizer.load(folderFiles(fileURLToPath(new URL(`../../../packages/pipeline/assets/${name}-base`, import.meta.url)))));
  expect(obstacle(name, { n: 2, benchmark: 'gta' }) === undefined).toBe(compactGtaVocabulary().every((word) => codec.encode(word).length === 1));
  const { depths, shown = 0 } = { tiny: TINY_BASE_RECIPE, small: SMALL_BASE_RECIPE }[name].text.mix.at(-1)!;
  for (const n of [1, 2, 3, 4, 5, 6]) {
    const knows = (demonstrations: boolean) => n <= depths.length && (!demonstrations || shown > 0) && compactVocabulary({ depth: n, demonstrations }).every((word) => codec.encode(word).length === 1);
    expect(obstacle(name, { n }) === undefined, `depth ${n}`).toBe(knows(false));
    expect(obstacle(name, { n, variant: 'm' }) === undefined, `depth ${n} with pictures`).toBe(knows(true));
    expect(obstacle(baseFor({ n, variant: 'm' }, name), { n, variant: 'm' })).toBeUndefined();
    // There are such runs.
    expect(runDataset({ seed: 1, n, variant: 'm', policies: 1, trainPerPolicy: 1, reasonedPerPolicy: 1, testSize: 1 }).policies).toHaveLength(1);
  }
});

it('takes the base that was wanted where it can, and says why where it cannot', () => {
  expect([baseFor({ n: 2 }), baseFor({ n: 2 }, 'small'), baseFor({ n: 4 }), baseFor({ n: 2, variant: 'm' }), baseFor({ n: 2, benchmark: 'gta' })]).toEqual(['tiny', 'small', 'small', 'small', 'small']);
  expect(obstacle('tiny', { n: 2, benchmark: 'gta' })).toContain('lacks the words of GTAPolicy');
  expect(obstacle('tiny', { n: 4 })).toBe('The tiny base knows trees of depth 1 to 3, and this one has 4.');
  expect(obstacle('tiny', { n: 2, variant: 'm' })).toContain('shown by pictures');
});
