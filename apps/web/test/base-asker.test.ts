import { expect, it } from 'vitest';
import { BaseAsker } from '../src/worker/base-asker.ts';

it('asks the base that is named, one at a time, and opens one that failed again', async () => {
  const log: string[] = [];
  let fails = true;
  const askers = new BaseAsker(async (base) => {
    log.push(`open ${base}`);
    if (base === 'bad' && fails) throw new Error('not there');
    return { ask: async () => undefined, dispose: () => void log.push(`dispose ${base}`) };
  });
  const tiny = await askers.of('tiny');
  expect(await askers.of('tiny')).toBe(tiny);
  expect(await askers.of('small')).not.toBe(tiny);
  await expect(askers.of('bad')).rejects.toThrow('not there');
  await askers.dispose();
  fails = false;
  await askers.of('bad');
  expect(log).toEqual(['open tiny', 'dispose tiny', 'open small', 'dispose small', 'open bad', 'open bad']);
});
