import { DEMO_CONFIG, GTA_CONFIG, resolveConfig } from '@trimpi/pipeline';
import { describe, expect, it } from 'vitest';
import { configFromAddress, withBenchmark } from '../src/config.ts';

const address = (config: string) => configFromAddress(`?config=${encodeURIComponent(config)}`);

describe('settings from the address', () => {
  it('are those of the demo when there are none', () => {
    expect(configFromAddress('')).toEqual(DEMO_CONFIG);
  });

  it('may give a stage in part', () => {
    expect(address('{"seed":3,"rl":{"steps":5},"arms":["grpo"]}')).toEqual({ ...DEMO_CONFIG, seed: 3, rl: { ...DEMO_CONFIG.rl, steps: 5 }, arms: ['grpo'] });
  });

  it('are over those of GTAPolicy where the run is on it', () => {
    expect(address('{"benchmark":"gta"}')).toEqual(GTA_CONFIG);
    expect(address('{"benchmark":"gta","trainPerPolicy":50,"rl":{"steps":5}}')).toEqual({ ...GTA_CONFIG, trainPerPolicy: 50, rl: { ...GTA_CONFIG.rl, steps: 5 } });
    // A run that is saved is compared by its text.
    expect(JSON.stringify(resolveConfig(JSON.parse(JSON.stringify(address('{"benchmark":"gta"}')))))).toBe(JSON.stringify(GTA_CONFIG));
  });

  it.each([
    ['{"benchmark":"clevr-t"}', 'benchmark: is clevr-t'],
    ['{"benchmark":"gta","policies":4}', 'GTAPolicy is one policy'],
    ['{"benchmark":"gta","n":3}', 'belongs to ClevrPolicy'],
    ['{"seed":', 'no JSON'],
    ['[1]', 'no object'],
    ['{"seeds":1}', 'seeds'],
    ['{"rl":{"rollouts":3}}', 'rl.rollouts'],
    ['{"policies":0}', 'policies'],
  ])('name what is wrong in %s', (config, message) => {
    expect(() => address(config)).toThrow(message);
  });
});

describe('another dataset', () => {
  const config = resolveConfig({ seed: 5, n: 4, variant: 'm', testSize: 60, trainPerPolicy: 30, policies: 2, vmCpt: { steps: 7 }, rl: { maxNewTokens: 46, beta: 0.1 }, arms: ['gspo'] });

  it('brings settings of its own, and leaves the others', () => {
    expect(withBenchmark(config, 'gta')).toEqual({
      ...config, benchmark: 'gta', n: 2, variant: 't', policies: 1, trainPerPolicy: GTA_CONFIG.trainPerPolicy, reasonedPerPolicy: GTA_CONFIG.reasonedPerPolicy, rl: { ...config.rl, maxNewTokens: GTA_CONFIG.rl.maxNewTokens },
    });
  });

  it('has them again when it is chosen again', () => {
    const gta = withBenchmark(config, 'gta');
    expect(withBenchmark({ ...gta, seed: 6 }, 'clevr', config)).toEqual({ ...config, seed: 6 });
    expect(withBenchmark(gta, 'clevr')).toMatchObject({ n: DEMO_CONFIG.n, policies: DEMO_CONFIG.policies, seed: 5 });
    expect(withBenchmark(gta, 'clevr')).not.toHaveProperty('benchmark');
  });
});
