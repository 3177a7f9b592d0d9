/** @file What a model needs in memory, from its config alone: storages and plans are laid out as on a device, and nothing is loaded or run. */
import { type Graph, PlanningEngine } from '@trimpi/runtime';
import { requireInteger } from './checks.ts';
import type { ModelConfig } from './config.ts';
import { ModelError } from './errors.ts';
import { generationMemory } from './generate/memory.ts';
import { LoraAdapter } from './lora/adapter.ts';
import { type LoraConfig, loraConfig } from './lora/config.ts';
import type { QuantisationOptions } from './quant/rows.ts';
import { recordEncoder } from './vl/encode.ts';
import { VisionLanguageModel } from './vl/model.ts';
import { recordBatch, roundUp } from './vl/plans.ts';

export interface EstimateOptions {
  /** The adapter that is trained; false: none. Default: rank 8 on all text projections. */
  readonly lora?: Partial<LoraConfig> | false;
  /** Default: f32. */
  readonly quantisation?: QuantisationOptions;
  /** Tokens of a training batch, all rows together. */
  readonly tokens: number;
  /** How many of them are predicted. Default: all. */
  readonly targets?: number;
  /** The largest image, in patches (rows, columns); its features are made once and cached. Default: none. */
  readonly image?: readonly [rows: number, columns: number];
  /** A step of sampling; none by default. */
  readonly rollouts?: { readonly prompts: number; readonly perPrompt: number; readonly promptTokens: number; /** Tokens that all prompts begin with. */ readonly sharedTokens?: number; readonly maxNewTokens: number };
  /** Default `auto`: only where it does not fit without. */
  readonly checkpointing?: boolean | 'auto';
  readonly limits?: DeviceLimits;
}

/** Of the device that is planned for; the defaults are what every WebGPU device grants, and 4 GiB of memory. */
export interface DeviceLimits {
  readonly maxStorageBufferBindingSize?: number;
  readonly maxBufferSize?: number;
  /** Memory that may be used, bytes. */
  readonly memory?: number;
}

/** Bytes. */
export interface Estimate {
  readonly weights: number;
  /** The adapter with gradients and moments. */
  readonly adapter: number;
  /** Intermediates, inputs and constants of the training step. */
  readonly training: number;
  /** Key-value cache and plans of sampling. */
  readonly generation: number;
  /** The plan that encodes one image. */
  readonly vision: number;
  readonly total: number;
  /** The largest buffer. */
  readonly largestBuffer: number;
  /** What was chosen. */
  readonly checkpointing: boolean;
  /** Why it does not fit; empty when it does. */
  readonly problems: readonly string[];
}

const MIB = 2 ** 20;

/**
 * Plans a run. Exact for buffers (the engine places them in the same way); what driver and shaders take comes on top.
 * @throws ModelError `invalid-input` for sizes that are none.
 */
export async function estimate(config: ModelConfig, options: EstimateOptions): Promise<Estimate> {
  const { checkpointing = 'auto' } = options;
  const { tokens, targets = tokens, image, rollouts } = options;
  for (const [name, value] of Object.entries({ tokens, targets })) requireInteger(name, value, 'Give the tokens of a batch.');
  image?.forEach((patches, i) => requireInteger(`image[${i}]`, patches, 'Give rows and columns of patches.'));
  if (rollouts !== undefined) {
    const { sharedTokens = 0, ...counts } = rollouts;
    for (const [name, value] of Object.entries(counts)) requireInteger(`rollouts.${name}`, value, 'Give the counts of a step of sampling.');
    requireInteger('rollouts.sharedTokens', sharedTokens, 'Give the tokens that all prompts begin with.', 0);
    if (sharedTokens > rollouts.promptTokens) throw new ModelError('invalid-input', { argument: 'rollouts.sharedTokens', value: sharedTokens, message: `must not exceed promptTokens (${rollouts.promptTokens})`, remedy: 'Give the tokens that all prompts begin with.' });
  }
  const plain = checkpointing === true ? undefined : await plan(config, options, false);
  if (plain !== undefined && (checkpointing === false || plain.problems.length === 0)) return plain;
  const checkpointed = await plan(config, options, true);
  return plain !== undefined && checkpointed.problems.length > 0 && plain.total <= checkpointed.total ? plain : checkpointed;
}

/** Throws ModelError `does-not-fit` with every reason when an estimate has problems. */
export function requireFit(found: Estimate): void {
  if (found.problems.length > 0) {
    throw new ModelError('does-not-fit', { argument: 'estimate', value: found.total, message: found.problems.join('; '), remedy: 'Quantise to 4 bits, use fewer tokens or rollouts, or a device with more memory.' });
  }
}

async function plan(config: ModelConfig, options: EstimateOptions, checkpointing: boolean): Promise<Estimate> {
  const binding = options.limits?.maxStorageBufferBindingSize ?? 128 * MIB;
  const maxBuffer = options.limits?.maxBufferSize ?? 256 * MIB;
  const memory = options.limits?.memory ?? 4096 * MIB;
  const engine = new PlanningEngine(binding);
  // Logits of a chunk must fit a binding.
  const model = new VisionLanguageModel(engine, config, { checkpointing, headElements: Math.floor(binding / 4), ...(options.quantisation === undefined ? {} : { quantise: options.quantisation }) });
  const weights = engine.storageBytes;
  const problems: string[] = [];
  let adapter: LoraAdapter | undefined;
  if (options.lora !== false) {
    adapter = new LoraAdapter(engine, config, 'planned', loraConfig(options.lora ?? {}));
    model.adapters.set('planned', adapter);
    model.setTrainable({ adapter: 'planned' });
  }
  const adapterBytes = engine.storageBytes - weights;
  const merge = config.vision.spatialMergeSize ** 2;
  const patches = options.image === undefined ? 0 : roundUp((options.image[0] * options.image[1]) / merge, 16) * merge;
  /** Bytes of a plan; what no kernel may bind is a problem and not an error. */
  const bytesOf = async (what: string, record: () => Graph): Promise<number> => {
    try {
      return (await engine.compile(record())).memory().total;
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      return 0;
    }
  };
  const shape = { tokens: roundUp(options.tokens, 32), targets: roundUp(options.targets ?? options.tokens, 16), vision: patches === 0 ? 'none' : 'features', patches: 0, cells: patches / merge } as const;
  const training = await bytesOf('training', () => recordBatch(model, shape, { adapter, temperature: 1, backward: adapter !== undefined, entropyGradient: false }));
  const vision = patches === 0 ? 0 : await bytesOf('vision', () => recordEncoder(model, shape.cells, undefined));
  let generation = 0;
  if (options.rollouts !== undefined) {
    const { prompts, perPrompt, promptTokens, sharedTokens = 0, maxNewTokens } = options.rollouts;
    try {
      generation = await generationMemory(model, { tokens: sharedTokens + prompts * (promptTokens - sharedTokens), rows: prompts * perPrompt, maxNewTokens, ...(adapter === undefined ? {} : { adapter: 'planned' }) }, () => engine.storageBytes);
    } catch (error) {
      problems.push(`generation: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const total = weights + adapterBytes + training + vision + generation;
  const largestBuffer = engine.largestStorage;
  if (total > memory) problems.push(`it needs ${gib(total)} GiB of ${gib(memory)}`);
  if (largestBuffer > maxBuffer) problems.push(`a buffer of ${gib(largestBuffer)} GiB is larger than the ${gib(maxBuffer)} that the device allows`);
  model.dispose();
  return { weights, adapter: adapterBytes, training, generation, vision, total, largestBuffer, checkpointing, problems };
}

function gib(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(2);
}
