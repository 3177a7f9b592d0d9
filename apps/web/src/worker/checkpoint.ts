/** @file What a checkpoint folder is, and what it needs on this device. Nothing of the weights is read but their headers. */
import { blobSource, DTYPE_BYTES, type DeviceLimits, estimate, type EstimateOptions, type ModelConfig, type ModelFiles, openCheckpoint, parseConfig, requireText } from '@trimpi/model';
import { openDevice } from '@trimpi/runtime';
import type { BroughtFile, CheckpointView, FitView } from '../protocol.ts';
import { failureOf } from './failure.ts';

/** A picture of 448 x 448 pixels (256 tokens), a policy and a question. */
const PROMPT_TOKENS = 1024;
const NEW_TOKENS = 128;
const PATCHES = [32, 32] as const;

const HOW = [{ how: '32-bit floats', bits: undefined }, { how: '8 bits', bits: 8 }, { how: '4 bits', bits: 4 }] as const;

export async function checkpointView(brought: readonly BroughtFile[], memory: number): Promise<CheckpointView> {
  const files = filesOf(brought);
  const config = await configOf(files);
  const facts: [string, string][] = [
    ['Kind', config.modelType],
    ['Text', `${config.numHiddenLayers} layers of width ${config.hiddenSize.toLocaleString('en')}, ${config.numAttentionHeads} heads (${config.numKeyValueHeads} for keys and values)`],
    ['Vision', `${config.vision.depth} layers of width ${config.vision.hiddenSize.toLocaleString('en')}, patches of ${config.vision.patchSize} pixels`],
    ['Vocabulary', `${config.vocabSize.toLocaleString('en')} tokens`],
  ];
  const missing: string[] = [];
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) if ((await files.open(name)) === null) missing.push(`${name} is missing: without it no text becomes tokens.`);
  try {
    const checkpoint = await openCheckpoint(files);
    let parameters = 0;
    let bytes = 0;
    const dtypes = new Set<string>();
    for (const name of checkpoint.names) {
      const { dtype, shape } = checkpoint.info(name);
      const size = shape.reduce((a, b) => a * b, 1);
      parameters += size;
      bytes += size * DTYPE_BYTES[dtype];
      dtypes.add(dtype);
    }
    facts.push(['Weights', `${checkpoint.names.length} tensors, ${count(parameters)} parameters, ${bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`} as ${[...dtypes].join(', ')}`]);
  } catch (cause) {
    missing.push(failureOf(cause).message);
  }
  return { facts, missing, fits: await fitOf(brought, memory) };
}

/** What running and training need, in each precision, with so many GiB of memory. */
export async function fitOf(brought: readonly BroughtFile[], memory: number): Promise<FitView[]> {
  const config = await configOf(filesOf(brought));
  const device = await openDevice().catch(() => undefined);
  const limits: DeviceLimits = {
    memory: memory * 2 ** 30,
    ...(device === undefined ? {} : { maxStorageBufferBindingSize: device.adapter.maxStorageBufferBindingSize, maxBufferSize: device.adapter.maxBufferSize }),
  };
  device?.dispose();
  const fits: FitView[] = [];
  for (const { how, bits } of HOW) {
    const common = { image: PATCHES, limits, ...(bits === undefined ? {} : { quantisation: { bits } }) } satisfies Partial<EstimateOptions>;
    const answering = await estimate(config, { ...common, lora: false, tokens: 32, rollouts: { prompts: 1, perPrompt: 1, promptTokens: PROMPT_TOKENS, maxNewTokens: NEW_TOKENS } });
    const training = await estimate(config, { ...common, lora: { r: 8 }, tokens: PROMPT_TOKENS + NEW_TOKENS, targets: NEW_TOKENS, rollouts: { prompts: 1, perPrompt: 8, promptTokens: PROMPT_TOKENS, maxNewTokens: NEW_TOKENS } });
    for (const [what, found] of [['Answering', answering], ['Training (LoRA, 8 rollouts)', training]] as const) fits.push({ how, what, weights: found.weights, total: found.total, problems: found.problems });
  }
  return fits;
}

async function configOf(files: ModelFiles): Promise<ModelConfig> {
  return parseConfig(JSON.parse(await requireText(files, 'config.json')));
}

function filesOf(brought: readonly BroughtFile[]): ModelFiles {
  const files = new Map(brought.map(({ name, file }) => [name, file]));
  return { name: 'this folder', open: async (name) => (files.has(name) ? blobSource(files.get(name)!, name) : null) };
}

function count(n: number): string {
  return n >= 1e9 ? `${(n / 1e9).toFixed(2)} billion` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} million` : n.toLocaleString('en');
}
