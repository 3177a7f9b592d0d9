/** @file Settings of a run from the page's address: `?config={"policies":1,"vmCpt":{"steps":2}}`. */
import { DEMO_CONFIG, PipelineError, resolveConfig, type RunConfig } from '@trimpi/pipeline';

/** The demo's settings with those of the address. Settings of a stage may be given in part. Throws `invalid-option`. */
export function configFromAddress(search: string): RunConfig {
  const text = new URLSearchParams(search).get('config');
  if (text === null) return DEMO_CONFIG;
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (cause) {
    throw new PipelineError('invalid-option', 'config', `in the address is no JSON (${(cause as Error).message}).`, 'Give an object, as in ?config={"policies":2}.', { cause });
  }
  if (!isObject(given)) throw new PipelineError('invalid-option', 'config', 'in the address is no object.', 'Give one, as in ?config={"policies":2}.');
  return resolveConfig(merge(DEMO_CONFIG, given));
}

function merge(base: object, given: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(given)) {
    const old = out[key];
    out[key] = isObject(old) && isObject(value) ? merge(old, value) : value;
  }
  return out;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
