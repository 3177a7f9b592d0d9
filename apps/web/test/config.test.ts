import { DEMO_CONFIG } from '@trimpi/pipeline';
import { describe, expect, it } from 'vitest';
import { configFromAddress } from '../src/config.ts';

const address = (config: string) => configFromAddress(`?config=${encodeURIComponent(config)}`);

describe('settings from the address', () => {
  it('are those of the demo when there are none', () => {
    expect(configFromAddress('')).toEqual(DEMO_CONFIG);
  });

  it('may give a stage in part', () => {
    expect(address('{"seed":3,"rl":{"steps":5},"arms":["grpo"]}')).toEqual({ ...DEMO_CONFIG, seed: 3, rl: { ...DEMO_CONFIG.rl, steps: 5 }, arms: ['grpo'] });
  });

  it.each([
    ['{"seed":', 'no JSON'],
    ['[1]', 'no object'],
    ['{"seeds":1}', 'seeds'],
    ['{"rl":{"rollouts":3}}', 'rl.rollouts'],
    ['{"policies":0}', 'policies'],
  ])('name what is wrong in %s', (config, message) => {
    expect(() => address(config)).toThrow(message);
  });
});
