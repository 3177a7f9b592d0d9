import type { Example, RgbImage } from '@trimpi/datasets';
import { Processor } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { ChatTask } from '../src/internalise/chats.ts';

const processor = await Processor.load(folderFiles(fileURLToPath(new URL('../../model/test/fixtures/qwen25vl/model', import.meta.url))));

/** A picture whose pixels nobody may ask for. */
const undecoded = (): RgbImage => ({
  width: 56, height: 56,
  get rgb(): Uint8Array {
    throw new Error('decoded');
  },
});

it('examples are read when they are asked for, once; tokens and sizes need no pixels', async () => {
  const read: string[] = [];
  const example = (id: string, split: Example['split']): Example => ({
    id, split, policyId: 'p', policyName: 'P', query: 'Which?', answer: 'a', reasoning: 'because', response: '<think>because</think>\\boxed{a}', policyText: '<image>',
    get images() {
      read.push(`${id} images`);
      return [undecoded()];
    },
    get policyParts() {
      read.push(`${id} policy`);
      return [{ type: 'image' as const, image: undecoded() }];
    },
  });
  const task = new ChatTask({ processor, system: '', stopIds: [], testSize: 0, examples: [example('a', 'train'), example('b', 'test')].map((e) => ({ example: e, score: () => ({ accuracy: 1, format: 1 }) })) });
  expect(read).toEqual([]);
  expect((await task.sizes()).image).toEqual([4, 4]);
  expect(new Set(task.pictures()).size).toBe(4);
  expect(read.toSorted()).toEqual(['a images', 'a policy', 'b images', 'b policy']);
  expect(task.train[0]!.example.images[0]).toBe(task.train[0]!.example.images[0]);
});
