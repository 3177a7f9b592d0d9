/** @file Keys and values of tokens on the device, a row a token, and what was sampled at each row. Samplers may share one. */
import type { Storage } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';
import type { VisionLanguageModel } from '../vl/model.ts';
import { Space } from './space.ts';

export class GenerationCache {
  readonly space: Space;
  /** f32 [tokens, keys and values] of each layer. */
  readonly layers: readonly Storage[];
  /** i32 [tokens]: the token sampled behind each row. */
  readonly history: Storage;
  /** f32 [tokens, 2]: its log-probability and the entropy it was drawn from. */
  readonly trace: Storage;

  /** Room for `tokens` tokens, prompts and completions together. */
  constructor(model: VisionLanguageModel, tokens: number) {
    const { engine, config } = model;
    this.space = new Space(tokens);
    this.layers = Array.from({ length: config.numHiddenLayers }, (_, i) => engine.createStorage(`cache ${i}`, tokens * cacheWidth(config)));
    this.history = engine.createStorage('decode.history', tokens, 'i32');
    this.trace = engine.createStorage('decode.trace', tokens * 2);
  }

  dispose(): void {
    for (const storage of [...this.layers, this.history, this.trace]) storage.dispose();
  }
}

/** Numbers that the cache keeps of a token in each layer. */
export function cacheWidth({ numKeyValueHeads, headDim }: ModelConfig): number {
  return 2 * numKeyValueHeads * headDim;
}

/** Rows of the decoding plan for so many completions at once: a power of two, or whole eights, so that plans serve many calls. */
export function decodeRows(completions: number): number {
  return completions < 8 ? 2 ** Math.ceil(Math.log2(Math.max(1, completions))) : Math.ceil(completions / 8) * 8;
}
