import { type Plan, RuntimeError } from '@trimpi/runtime';
import { describe, expect, it } from 'vitest';
import { PlanCache } from './plan-cache.ts';

/** Plans that know only how large they are; `log` says what was made and what was given up. */
function setUp(bytes: number) {
  const log: string[] = [];
  const cache = new PlanCache<{ readonly plan: Plan }>(bytes);
  const use = (key: string, total: number, wait?: Promise<void>) =>
    cache.get(key, async () => {
      log.push(`+${key}`);
      await wait;
      return { plan: { memory: () => ({ total }), dispose: () => log.push(`-${key}`) } as unknown as Plan };
    });
  return { log, cache, use };
}

describe('PlanCache', () => {
  it('keeps what fits the bound beside the one used last, and gives up those not used for longest', async () => {
    const { log, cache, use } = setUp(10);
    for (const key of ['a', 'b', 'c', 'a', 'd']) await use(key, 4);
    await new Promise((r) => setTimeout(r));
    // At d there are c and a before it (8 of 10 bytes); b was used before them.
    expect(log).toEqual(['+a', '+b', '+c', '+d', '-b']);
    await use('b', 4);
    await new Promise((r) => setTimeout(r));
    expect(log.slice(5)).toEqual(['+b', '-c']);
    expect(cache.size).toBe(3);
  });

  it('a plan larger than the bound is kept until another such is used, so that the step after it does not cost it', async () => {
    const { log, use } = setUp(10);
    for (let step = 0; step < 3; step++) {
      await use('training', 100);
      await use('step', 1);
    }
    await use('scoring', 80);
    await use('step', 1);
    await new Promise((r) => setTimeout(r));
    expect(log).toEqual(['+training', '+step', '+scoring', '-training']);
  });

  it('is asked twice at once and makes one; a failure is made again', async () => {
    const { log, cache, use } = setUp(10);
    const [x, y] = await Promise.all([use('a', 1), use('a', 1)]);
    expect(x).toBe(y);
    await expect(cache.get('bad', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await use('bad', 1);
    expect(log).toEqual(['+a', '+bad']);
  });

  it('gives up what it holds when memory runs out, and only then', async () => {
    const { log, cache, use } = setUp(10);
    await use('a', 4);
    await use('b', 4);
    let full = true;
    const outOfMemory = new RuntimeError('out-of-memory', 'compile', 'no room.', 'Use less.');
    const plan = { memory: () => ({ total: 4 }), dispose: () => log.push('-c') } as unknown as Plan;
    await cache.get('c', async () => {
      log.push('+c');
      if (!full) return { plan };
      full = false;
      throw outOfMemory;
    });
    expect(log).toEqual(['+a', '+b', '+c', '-a', '-b', '+c']);
    expect(cache.size).toBe(1);
    // With nothing left to give up it is the caller's.
    cache.clear();
    await expect(cache.get('d', () => Promise.reject(outOfMemory))).rejects.toBe(outOfMemory);
    await use('e', 4);
    await expect(cache.get('f', () => Promise.reject(new Error('another')))).rejects.toThrow('another');
    expect(cache.size).toBe(1);
  });

  it('a plan under way is not given up for another, and clear gives up all', async () => {
    const { log, cache, use } = setUp(0);
    let finish = () => {};
    const slow = use('slow', 5, new Promise((r) => (finish = r)));
    await use('quick', 5);
    finish();
    await slow;
    await new Promise((r) => setTimeout(r));
    expect(log).toEqual(['+slow', '+quick', '-quick']);
    cache.clear();
    await new Promise((r) => setTimeout(r));
    expect(log.at(-1)).toBe('-slow');
    expect(cache.size).toBe(0);
  });
});
