/** @file Reads the golden cases (real transformers and PEFT, see the fixtures' README) and turns them into batches. */
import type { Engine } from '@trimpi/runtime';
import { type BatchRow, bytesSource, getRopeIndex, type GridThw, memoryFiles, openCheckpoint, packBatch, type PackedBatch, parseConfig, SafetensorsFile, type TokenSequence, VisionLanguageModel } from '../src/index.ts';

/** Fixtures that a browser has fetched; Node reads them from disk. */
export const fetched = new Map<string, Uint8Array>();
const fs = typeof window === 'undefined' ? await import('node:fs') : undefined;
export const fixture = (name: string) => new URL(`./fixtures/qwen25vl/${name}`, import.meta.url);
export const readBytes = (name: string): Uint8Array => fetched.get(name) ?? new Uint8Array(fs!.readFileSync(fixture(name)));
export const readJson = (name: string): unknown => JSON.parse(new TextDecoder().decode(readBytes(name)));

export interface GoldenCase {
  readonly file: SafetensorsFile;
  readonly get: (name: string) => Promise<Float32Array>;
  readonly batch: PackedBatch;
  /** Row and column in the golden [B, L] of every token of the batch, in its order. */
  readonly tokenPlaces: readonly (readonly [number, number])[];
  readonly labels: Float32Array;
  readonly length: number;
}

export async function openGolden(name: string): Promise<SafetensorsFile> {
  return SafetensorsFile.open(bytesSource(readBytes(`${name}.safetensors`), name));
}

/** A case as a batch of its real tokens; `predict` picks the tokens that are predicted (default: all). */
export async function goldenCase(name: string, predict?: (label: number) => boolean): Promise<GoldenCase> {
  const file = await openGolden(name);
  const get = (key: string) => file.readFloat32(key);
  const config = parseConfig(readJson('model/config.json'));
  const ids = await get('in.input_ids');
  const mask = await get('in.attention_mask');
  const positions = await get('in.position_ids');
  const labels = await get('in.labels');
  const [rows, length] = file.tensors.get('in.input_ids')!.shape as unknown as [number, number];
  const grids: GridThw[] = [];
  let pixels = new Float32Array(0);
  if (file.tensors.has('in.image_grid_thw')) {
    const flat = await get('in.image_grid_thw');
    for (let i = 0; i < flat.length; i += 3) grids.push([flat[i]!, flat[i + 1]!, flat[i + 2]!]);
    pixels = Float32Array.from(await get('in.pixel_values'));
  }
  const tokenPlaces: [number, number][] = [];
  const batchRows: BatchRow[] = [];
  let image = 0;
  let patch = 0;
  for (let r = 0; r < rows; r++) {
    const own = Array.from({ length }, (_, i) => i).filter((i) => mask[r * length + i] !== 0);
    for (const i of own) tokenPlaces.push([r, i]);
    const inputIds = own.map((i) => ids[r * length + i]!);
    let cells = inputIds.filter((id) => id === config.imageTokenId).length;
    const images = [];
    while (cells > 0) {
      const grid = grids[image++]!;
      const patches = grid[0] * grid[1] * grid[2];
      images.push({ gridThw: grid, pixelValues: pixels.subarray(patch * 1176, (patch + patches) * 1176) });
      patch += patches;
      cells -= patches / 4;
    }
    batchRows.push({
      sequence: { inputIds, positionIds: [0, 1, 2].flatMap((axis) => own.map((i) => positions[(axis * rows + r) * length + i]!)), images },
      ...(predict === undefined ? {} : { predict: own.map((i) => (predict(labels[r * length + i]!) ? 1 : 0)) }),
    });
  }
  return { file, get, batch: packBatch(config, batchRows), tokenPlaces, labels, length };
}

export async function goldenModel(engine: Engine): Promise<VisionLanguageModel> {
  const config = parseConfig(readJson('model/config.json'));
  const model = new VisionLanguageModel(engine, config);
  await model.load(await openCheckpoint(memoryFiles({ 'model.safetensors': readBytes('model/model.safetensors') })));
  return model;
}

/** The prompt of the golden generation: the beginning of the case `single`, with its images. */
export async function goldenPrompt(model: VisionLanguageModel): Promise<TokenSequence> {
  const ids = Array.from(await (await openGolden('generate_single')).readFloat32('in.prompt_ids'));
  const single = await openGolden('case_single');
  const pixels = Float32Array.from(await single.readFloat32('in.pixel_values'));
  const grid = await single.readFloat32('in.image_grid_thw');
  const grids = [[grid[0]!, grid[1]!, grid[2]!], [grid[3]!, grid[4]!, grid[5]!]] as const;
  const first = grids[0][0] * grids[0][1] * grids[0][2] * 1176;
  const images = [{ gridThw: grids[0], pixelValues: pixels.subarray(0, first) }, { gridThw: grids[1], pixelValues: pixels.subarray(first) }];
  return { inputIds: ids, positionIds: getRopeIndex(ids, grids, model.config).positionIds, images };
}
