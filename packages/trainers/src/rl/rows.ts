/** @file Rollouts as batches for the model: each prompt once, its completions behind it, under a token budget. */
import { type ModelConfig, packBatch, type PackedBatch, type Scores } from '@trimpi/model';
import { microBatches } from '../micro-batches.ts';
import type { Rollout } from './types.ts';

/** A part of the used rollouts that goes through the model at once. */
export interface MicroBatch {
  readonly batch: PackedBatch;
  /** For each predicted token of the batch its place in the ragged row of all used tokens. */
  readonly at: readonly number[];
}

/**
 * Packs the rollouts `used` (indices, ascending) behind their policy-free prompts. A group that exceeds the budget is
 * cut, and its prompt repeated.
 * @param scored Which of them go through the model; the others, masked whole, only have their place in the layout.
 * @returns offsets of the used rollouts' tokens [used + 1], and the micro-batches.
 */
export function packRollouts(config: ModelConfig, rollouts: readonly Rollout[], groupOf: readonly number[], used: readonly number[], scored: (i: number) => boolean, maxTokens: number | undefined): { readonly offsets: readonly number[]; readonly batches: readonly MicroBatch[] } {
  const offsets = [0];
  for (const i of used) offsets.push(offsets[offsets.length - 1]! + rollouts[i]!.completion.tokens.length);
  // Pieces of groups: places in `used`.
  const pieces: { readonly own: number[]; tokens: number }[] = [];
  used.forEach((i, u) => {
    if (!scored(i)) return;
    const { example, completion } = rollouts[i]!;
    const last = pieces[pieces.length - 1];
    const fits = maxTokens === undefined || (last !== undefined && last.tokens + completion.tokens.length <= maxTokens);
    if (last !== undefined && fits && groupOf[used[last.own[0]!]!] === groupOf[i]) {
      last.own.push(u);
      last.tokens += completion.tokens.length;
    } else pieces.push({ own: [u], tokens: example.policyFree.inputIds.length - 1 + completion.tokens.length });
  });
  const batches = microBatches(pieces.map((p) => p.tokens), maxTokens).map((chosen) => {
    const rows = chosen.map((p) => pieces[p]!.own);
    const batch = packBatch(config, rows.map((own) => ({ sequence: rollouts[used[own[0]!]!]!.example.policyFree, completions: own.map((u) => rollouts[used[u]!]!.completion.tokens) })));
    return { batch, at: batch.places.map(({ row, completion, index }) => offsets[rows[row]![completion]!]! + index) };
  });
  return { offsets, batches };
}

/** Log-probability and entropy of each token, in the ragged layout of the used tokens. */
export interface TokenScores {
  readonly logp: Float64Array;
  readonly entropy: Float64Array;
}

/** Scores of all micro-batches, one after the other; `at` are the places of a batch's predicted tokens among all. */
export async function scoreAll(batches: readonly MicroBatch[], tokens: number, score: (batch: PackedBatch, at: readonly number[]) => Promise<Scores>): Promise<TokenScores> {
  const logp = new Float64Array(tokens);
  const entropy = new Float64Array(tokens);
  for (const { batch, at } of batches) {
    const own = await score(batch, at);
    at.forEach((place, k) => {
      logp[place] = own.logp[k]!;
      entropy[place] = own.entropy[k]!;
    });
  }
  return { logp, entropy };
}
