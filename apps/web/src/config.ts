/** @file Settings of a run from the page's address: `?config={"policies":1,"vmCpt":{"steps":2}}`; and what changes with the dataset. */
import { DEMO_CONFIG, GTA_CONFIG, PipelineError, resolveConfig, type RunBenchmark, type RunConfig, type RunOverrides } from '@trimpi/pipeline';

/** The demo's settings (those of `GTA_CONFIG` for GTAPolicy) with those of the address. Settings of a stage may be given in part. Throws `invalid-option`. */
export function configFromAddress(search: string): RunConfig {
  const text = new URLSearchParams(search).get('config');
  if (text === null) return DEMO_CONFIG;
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (cause) {
    throw new PipelineError('invalid-option', 'config', `in the address is no JSON (${(cause as Error).message}).`, 'Give an object, as in ?config={"policies":2}.', { cause });
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new PipelineError('invalid-option', 'config', 'in the address is no object.', 'Give one, as in ?config={"policies":2}.');
  return resolveConfig(given as RunOverrides);
}

/** What a run is about. */
export function benchmarkOf({ benchmark = 'clevr' }: Pick<RunConfig, 'benchmark'>): RunBenchmark {
  return benchmark;
}

/**
 * The settings with another dataset: what belongs to the data and the length of its answers comes from `before` (settings that this
 * dataset had earlier) or its defaults; seed, steps, objectives and test questions stay.
 */
export function withBenchmark(config: RunConfig, benchmark: RunBenchmark, before: RunConfig = benchmark === 'gta' ? GTA_CONFIG : DEMO_CONFIG): RunConfig {
  const { benchmark: _, n: _n, variant: _variant, policies: _policies, trainPerPolicy: _train, reasonedPerPolicy: _reasoned, ...kept } = config;
  const { n, variant = 't', policies, trainPerPolicy, reasonedPerPolicy, rl: { maxNewTokens } } = before;
  return resolveConfig({ ...kept, benchmark, n, variant, policies, trainPerPolicy, reasonedPerPolicy, rl: { ...config.rl, maxNewTokens } });
}
