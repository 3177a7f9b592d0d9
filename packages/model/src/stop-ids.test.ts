import { expect, it } from 'vitest';
import { goldenBytes, goldenJson } from '../test/golden.ts';
import { memoryFiles } from './files/model-files.ts';
import { Processor } from './processor.ts';
import { stopTokenIds } from './stop-ids.ts';

const files = (eos: unknown, generation?: object) => memoryFiles({
  ...Object.fromEntries(['tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'].map((name) => [name, goldenBytes(`model/${name}`)])),
  'config.json': JSON.stringify({ ...goldenJson<object>('model/config.json'), eos_token_id: eos }),
  ...(generation === undefined ? {} : { 'generation_config.json': JSON.stringify(generation) }),
});

it('stops at every token that one of the files lists', async () => {
  const ids = async (...args: Parameters<typeof files>) => (await stopTokenIds(files(...args), await Processor.load(files(...args)))).toSorted((a, b) => a - b);
  // The tokenizer's own is 500.
  expect(await ids([498, 501])).toEqual([498, 500, 501]);
  expect(await ids([498, 501], { eos_token_id: [502, 9999] })).toEqual([498, 500, 501, 502]);
  expect(await ids(undefined)).toEqual([500]);
});
