/** @file What sampling takes on the device. */
import { SETTINGS_WIDTH, STATE_WIDTH } from '@trimpi/runtime';
import type { VisionLanguageModel } from '../vl/model.ts';
import { roundUp } from '../vl/plans.ts';
import { decodeRows, GenerationCache } from './cache.ts';
import { recordDecode, recordPrefill } from './plans.ts';

export interface GenerationSizes {
  /** Of all prompts that are read together. */
  readonly tokens: number;
  readonly rows: number;
  readonly maxNewTokens: number;
  readonly adapter?: string;
}

/** Bytes that sampling with these sizes takes: plans, cache and state. `storageBytes` reads what the engine holds. */
export async function generationMemory(model: VisionLanguageModel, { tokens, rows, maxNewTokens, adapter }: GenerationSizes, storageBytes: () => number): Promise<number> {
  const before = storageBytes();
  const { engine } = model;
  const shape = { tokens: roundUp(tokens, 32), targets: 0, vision: 'none', patches: 0, cells: 0 } as const;
  const width = decodeRows(rows);
  const cache = new GenerationCache(model, shape.tokens + width * maxNewTokens);
  const state = { state: engine.createStorage('decode.state', width * STATE_WIDTH, 'i32'), settings: engine.createStorage('decode.settings', width * SETTINGS_WIDTH) };
  const prefill = await engine.compile(recordPrefill(model, cache, shape, adapter));
  const decode = await engine.compile(recordDecode(model, cache, state, width, adapter, []));
  return storageBytes() - before + prefill.memory().total + decode.memory().total;
}
