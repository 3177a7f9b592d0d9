import { describe, expect, it } from 'vitest';
import type { ChatMessage } from './chat.ts';
import { httpFiles } from './files/http-source.ts';
import { Processor } from './processor.ts';
import { openCheckpoint } from './safetensors/checkpoint.ts';
import { SafetensorsFile } from './safetensors/reader.ts';
import { getRopeIndex, type GridThw } from './rope-index.ts';

/** The fixtures, over HTTP and by range, from the server that serves the tests. */
const golden = httpFiles(new URL('../test/fixtures/qwen25vl/', import.meta.url));
const processor = await Processor.load(httpFiles(new URL('../test/fixtures/qwen25vl/model/', import.meta.url)));

async function open(name: string): Promise<SafetensorsFile> {
  const source = await golden.open(name);
  if (source === null) throw new Error(`${name} is missing`);
  return SafetensorsFile.open(source);
}

async function json<T>(name: string): Promise<T> {
  return (await (await fetch(new URL(`../test/fixtures/qwen25vl/${name}`, import.meta.url))).json()) as T;
}

describe('in a browser', () => {
  it('tokens equal the Rust library', async () => {
    for (const { text, ids, decoded } of await json<{ text: string; ids: number[]; decoded: string }[]>('tokenizer_golden.json')) {
      expect(processor.tokenizer.encode(text)).toEqual(ids);
      expect(processor.tokenizer.decode(ids)).toBe(decoded);
    }
  });

  it('the chat template equals Python', async () => {
    const cases = await json<{ messages: ChatMessage[]; add_generation_prompt: boolean; add_vision_id: boolean; rendered: string }[]>('chat_template_golden.json');
    for (const { messages, add_generation_prompt, add_vision_id, rendered } of cases) {
      if (!add_vision_id) expect(processor.render(messages, { addGenerationPrompt: add_generation_prompt })).toBe(rendered);
    }
  });

  it('an image becomes the pixel values of the Python processor', async () => {
    const file = await open('preprocess.safetensors');
    const image = { width: 93, height: 61, data: await file.readBytes('image_u8_hwc') };
    const row = processor.process({ messages: [{ role: 'user', content: [{ type: 'image' }] }], images: [image] });
    const expected = await file.readFloat32('native.pixel_values');
    expect(row.pixelValues).toHaveLength(expected.length);
    let worst = 0;
    expected.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - (row.pixelValues[i] ?? NaN))); });
    expect(worst).toBeLessThanOrEqual(2.4e-7);
    expect(row.imageGridThw).toEqual([[1, 4, 6]]);
  });

  it('positions equal transformers; a checkpoint is read by range', async () => {
    const { rope_index } = await json<{ rope_index: { input_ids: number[][]; image_grid_thw: GridThw[] | null; position_ids: number[][][] }[] }>('tables.json');
    for (const { input_ids, image_grid_thw, position_ids } of rope_index) {
      expect([...getRopeIndex(input_ids[0] ?? [], image_grid_thw ?? [], processor.config).positionIds]).toEqual(position_ids.flatMap((axis) => axis[0]));
    }
    const checkpoint = await openCheckpoint(httpFiles(new URL('../test/fixtures/qwen25vl/model/', import.meta.url)));
    expect(await checkpoint.readFloat32('model.language_model.norm.weight')).toHaveLength(64);
  });
});
