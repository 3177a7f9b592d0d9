import { describe, expect, it } from 'vitest';
import { type ChatMessage, compileChatTemplate, QWEN_CHAT_TEMPLATE } from './chat.ts';
import { httpFiles } from './files/http-source.ts';
import { patchify } from './image/preprocess.ts';
import { resizeBicubic } from './image/resize-bicubic.ts';
import { smartResize } from './image/smart-resize.ts';
import { Processor } from './processor.ts';
import { dequantiseNbits4, quantiseNbits4 } from './quant/nbits4.ts';
import { dequantiseNf4, quantiseNf4 } from './quant/nf4.ts';
import { openCheckpoint } from './safetensors/checkpoint.ts';
import { SafetensorsFile } from './safetensors/reader.ts';
import { getRopeIndex, type GridThw } from './rope-index.ts';
import { visionWindows } from './windows.ts';

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
    for (const { text, ids, decoded, decoded_skip_special } of await json<{ text: string; ids: number[]; decoded: string; decoded_skip_special: string }[]>('tokenizer_golden.json')) {
      expect(processor.tokenizer.encode(text)).toEqual(ids);
      expect(processor.tokenizer.decode(ids)).toBe(decoded);
      expect(processor.tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(decoded_skip_special);
    }
  });

  it('the chat template equals Python', async () => {
    const cases = await json<{ messages: ChatMessage[]; add_generation_prompt: boolean; add_vision_id: boolean; rendered: string }[]>('chat_template_golden.json');
    for (const source of [processor.tokenizer.chatTemplate ?? '', QWEN_CHAT_TEMPLATE]) {
      const template = compileChatTemplate(source);
      for (const { messages, add_generation_prompt, add_vision_id, rendered } of cases) expect(template(messages, { addGenerationPrompt: add_generation_prompt, addVisionId: add_vision_id })).toBe(rendered);
    }
  });

  it('sizes equal transformers, resized images PIL in every bit', async () => {
    const table = (await json<{ smart_resize_h_w_factor_min_max_result: [number, number, number, number, number, [number, number]][] }>('tables.json')).smart_resize_h_w_factor_min_max_result;
    expect(table).toHaveLength(300);
    for (const [h, w, factor, min, max, [height, width]] of table) expect(smartResize(h, w, factor, min, max), `${h}x${w}`).toEqual({ height, width });
    const file = await open('preprocess.safetensors');
    const image = await file.readBytes('image_u8_hwc');
    for (const name of ['native', 'down', 'up']) {
      const key = `${name}.pil_resized_u8_hwc`;
      const [height = 0, width = 0] = file.info(key).shape;
      expect(resizeBicubic(image, 93, 61, width, height)).toEqual(await file.readBytes(key));
      expect(patchify(await file.readBytes(key), width, height, processor.preprocessor).gridThw).toEqual([...(await file.readFloat32(`${name}.image_grid_thw`))]);
    }
  });

  it('weights in 4 bits equal ONNX Runtime and bitsandbytes', async () => {
    const source = await httpFiles(new URL('../test/fixtures/quant/', import.meta.url)).open('quant.safetensors');
    const file = await SafetensorsFile.open(source!);
    const W = await file.readFloat32('W');
    const [rows = 0, columns = 0] = file.info('W').shape;
    for (const [name, blockSize, symmetric] of [['nbits4_b32_sym', 32, true], ['nbits4_b32_asym', 32, false], ['nbits4_b64_asym', 64, false]] as const) {
      const matrix = quantiseNbits4(W, rows, columns, { blockSize, symmetric });
      expect(matrix.data, name).toEqual(await file.readBytes(`${name}.B`));
      expect(dequantiseNbits4({ ...matrix, scales: await file.readFloat32(`${name}.scales`) }), name).toEqual(await file.readFloat32(`${name}.dequant`));
    }
    for (const [name, blockSize] of [['nf4_b64', 64], ['nf4_b32', 32]] as const) {
      const matrix = quantiseNf4(W, blockSize);
      expect(matrix.packed, name).toEqual(await file.readBytes(`${name}.packed`));
      expect(dequantiseNf4(matrix), name).toEqual(await file.readFloat32(`${name}.dequant`));
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
    const { rope_index, windows } = await json<{
      rope_index: { input_ids: number[][]; image_grid_thw: GridThw[] | null; position_ids: number[][][] }[];
      windows: { grid_thw: number[][]; window_index: number[]; cu_window_seqlens: number[]; cu_seqlens: number[] }[];
    }>('tables.json');
    for (const { grid_thw, ...want } of windows) {
      const { windowIndex, cuWindowSeqlens, cuSeqlens } = visionWindows(grid_thw, processor.config.vision);
      expect([[...windowIndex], [...cuWindowSeqlens], [...cuSeqlens]]).toEqual([want.window_index, want.cu_window_seqlens, want.cu_seqlens]);
    }
    for (const { input_ids, image_grid_thw, position_ids } of rope_index) {
      expect([...getRopeIndex(input_ids[0] ?? [], image_grid_thw ?? [], processor.config).positionIds]).toEqual(position_ids.flatMap((axis) => axis[0]));
    }
    const checkpoint = await openCheckpoint(httpFiles(new URL('../test/fixtures/qwen25vl/model/', import.meta.url)));
    expect(await checkpoint.readFloat32('model.language_model.norm.weight')).toHaveLength(64);
  });
});
