/** @file What answering with, and training, a checkpoint needs in each precision. */
import { type DeviceLimits, estimate, type EstimateOptions, type ModelConfig } from '@trimpi/model';
import { openDevice } from '@trimpi/runtime';
import type { FitView, StoredBits } from '../protocol.ts';

/** A picture of 448 x 448 pixels (256 tokens), a policy and a question. */
const PROMPT_TOKENS = 1024;
const NEW_TOKENS = 128;
const PATCHES = [32, 32] as const;

const HOW: readonly { readonly how: string; readonly bits: StoredBits }[] = [{ how: '32-bit floats', bits: 32 }, { how: '8 bits', bits: 8 }, { how: '4 bits', bits: 4 }];

const common = (bits: StoredBits, limits: DeviceLimits) => ({ image: PATCHES, limits, ...(bits === 32 ? {} : { quantisation: { bits } }) }) satisfies Partial<EstimateOptions>;

/** What is planned for a question. */
export function answering(bits: StoredBits, limits: DeviceLimits): EstimateOptions {
  return { ...common(bits, limits), lora: false, tokens: 32, rollouts: { prompts: 1, perPrompt: 1, promptTokens: PROMPT_TOKENS, maxNewTokens: NEW_TOKENS } };
}

function training(bits: StoredBits, limits: DeviceLimits): EstimateOptions {
  return { ...common(bits, limits), lora: { r: 8 }, tokens: PROMPT_TOKENS + NEW_TOKENS, targets: NEW_TOKENS, rollouts: { prompts: 1, perPrompt: 8, promptTokens: PROMPT_TOKENS, maxNewTokens: NEW_TOKENS } };
}

/** Both in each precision, with so many GiB of memory. */
export async function fitsOf(config: ModelConfig, memory: number): Promise<FitView[]> {
  const device = await openDevice().catch(() => undefined);
  const limits: DeviceLimits = {
    memory: memory * 2 ** 30,
    ...(device === undefined ? {} : { maxStorageBufferBindingSize: device.adapter.maxStorageBufferBindingSize, maxBufferSize: device.adapter.maxBufferSize }),
  };
  device?.dispose();
  const fits: FitView[] = [];
  for (const { how, bits } of HOW) {
    for (const [what, use] of [['answering', answering], ['training', training]] as const) {
      const { weights, total, problems } = await estimate(config, use(bits, limits));
      fits.push({ how, bits, use: what, what: what === 'answering' ? 'Answering' : 'Training (LoRA, 8 rollouts)', weights, total, problems });
    }
  }
  return fits;
}
