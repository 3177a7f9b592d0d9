import { RolloutError, checkObject, nearestName } from '../error.ts';

/** Refuses a name that is not an option of `call`, with the nearest one that is. */
export function checkOptions(call: string, options: object, known: readonly string[]): void {
  checkObject(call, options, 'options');
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new RolloutError('unknown-option', `${call}.${name}`, (options as Record<string, unknown>)[name], `is not an option of ${call}()`, `Did you mean "${nearestName(name, known) ?? ''}"? Known options: ${known.join(', ')}.`);
  }
}
