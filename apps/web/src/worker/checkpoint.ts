/** @file What a checkpoint folder is. Nothing of the weights is read but their headers. */
import { type Adapter, DTYPE_BYTES, type ModelConfig, type ModelFiles, openCheckpoint, parseConfig, readAdapter, requireText } from '@trimpi/model';
import type { BroughtFile, CheckpointView, FitView } from '../protocol.ts';
import { broughtFiles } from './checkpoint-files.ts';
import { fitsOf } from './checkpoint-fit.ts';
import { failureOf } from './failure.ts';

export async function checkpointView(brought: readonly BroughtFile[], memory: number): Promise<CheckpointView> {
  const files = broughtFiles(brought);
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
  return { facts, missing, fits: await fitsOf(config, memory) };
}

async function configOf(files: ModelFiles): Promise<ModelConfig> {
  return parseConfig(JSON.parse(await requireText(files, 'config.json')));
}

/** What it needs with so many GiB of memory. */
export async function fitOf(brought: readonly BroughtFile[], memory: number): Promise<FitView[]> {
  return fitsOf(await configOf(broughtFiles(brought)), memory);
}

/** An adapter for it, checked against its modules. @throws ModelError. */
export async function bringAdapter(checkpoint: readonly BroughtFile[], adapter: readonly BroughtFile[]): Promise<Adapter> {
  return readAdapter(broughtFiles(adapter), await configOf(broughtFiles(checkpoint)));
}

function count(n: number): string {
  return n >= 1e9 ? `${(n / 1e9).toFixed(2)} billion` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} million` : n.toLocaleString('en');
}
