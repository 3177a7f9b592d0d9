/** @file A completion from the ONNX files: greedy or sampled, one sequence. Batches, adapters and shared prefixes: our own `generate`. */
import { PhiloxStream } from '@trimpi/runtime';
import { ModelError } from '../errors.ts';
import type { Completion } from '../generate/completion.ts';
import type { TokenSequence } from '../vl/batch.ts';
import type { OnnxDecoder } from './decoder.ts';

export interface GenerateOnnxOptions {
  readonly maxNewTokens: number;
  /** Tokens after which a completion ends; they stay at its end. */
  readonly stopIds: readonly number[];
  /** 0 (default): always the most probable token. */
  readonly temperature?: number;
  /** What is sampled is a function of prompt, weights and seed. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onToken?: (token: number) => void;
}

/**
 * Completes a prompt whose images are encoded (`OnnxVisionEncoder.encodeImages`).
 * @throws ModelError `invalid-input` for options out of range or images that do not fit.
 */
export async function generateOnnx(decoder: OnnxDecoder, prompt: TokenSequence, options: GenerateOnnxOptions): Promise<Omit<Completion, 'prompt'>> {
  const { maxNewTokens, stopIds, temperature = 0, seed = 0, signal, onToken } = options;
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) throw new ModelError('invalid-input', { argument: 'maxNewTokens', value: maxNewTokens, message: 'must be a positive integer', remedy: 'Give the length at which to stop.' });
  if (!(temperature >= 0 && temperature <= 100)) throw new ModelError('invalid-input', { argument: 'temperature', value: temperature, message: 'must be from 0 to 100', remedy: 'Use 0 for greedy decoding.' });
  const random = new PhiloxStream(seed);
  const tokens: number[] = [];
  const logps: number[] = [];
  const entropies: number[] = [];
  const next = Math.max(...[0, 1, 2].map((axis) => prompt.positionIds[(axis + 1) * prompt.inputIds.length - 1] ?? 0)) + 1;
  let { logits, cache } = await decoder.prefill(prompt);
  try {
    for (;;) {
      const { token, logp, entropy } = choose(logits, temperature, random);
      tokens.push(token);
      logps.push(logp);
      entropies.push(entropy);
      onToken?.(token);
      const stopped = stopIds.includes(token);
      if (stopped || tokens.length === maxNewTokens || signal?.aborted === true) {
        return { tokens: Int32Array.from(tokens), logps: Float32Array.from(logps), entropies: Float32Array.from(entropies), finish: stopped ? 'stop' : 'length' };
      }
      ({ logits, cache } = await decoder.step(token, next + tokens.length - 1, cache));
    }
  } finally {
    decoder.release(cache);
  }
}

/** A token with its log-probability and the entropy of the distribution (nats), at temperature 1 when greedy. */
function choose(logits: Float32Array, temperature: number, random: PhiloxStream): { token: number; logp: number; entropy: number } {
  const scale = temperature === 0 ? 1 : 1 / temperature;
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  const top = logits[best]! * scale;
  let sum = 0;
  let weighted = 0;
  for (const logit of logits) {
    const p = Math.exp(logit * scale - top);
    sum += p;
    weighted += p * (logit * scale - top);
  }
  let token = best;
  if (temperature > 0) {
    let rest = random.next() * sum;
    for (let i = 0; i < logits.length; i++) {
      rest -= Math.exp(logits[i]! * scale - top);
      if (rest <= 0) {
        token = i;
        break;
      }
    }
  }
  return { token, logp: logits[token]! * scale - top - Math.log(sum), entropy: Math.log(sum) - weighted / sum };
}
