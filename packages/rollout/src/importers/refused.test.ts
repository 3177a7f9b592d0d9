/** @file Options that would change rewards or rollouts: no importer takes one and does nothing. */
import { describe, expect, it } from 'vitest';
import { RolloutError, fromOpenRlhf, fromVerl } from '../index.ts';

describe('options without an arithmetic here', () => {
  it.each<[(config: object) => unknown, string, unknown, RegExp]>([
    [fromVerl, 'use_kl_in_reward', true, /klInReward/],
    [fromVerl, 'use_pf_ppo', true, /random/],
    [fromVerl, 'loss_remove_token_mean', true, /LUFFY/],
    [fromOpenRlhf, 'overlong_buffer_len', 128, /overlongPenalty/],
    [fromOpenRlhf, 'stop_properly_penalty_coef', 0, /truncated/],
  ])('%s', (build, name, value, message) => {
    let error: unknown;
    try {
      build({ [name]: value });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(RolloutError);
    expect(error).toMatchObject({ code: 'not-supported', argument: `${build.name}.${name}`, value });
    expect((error as RolloutError).message).toMatch(message);
    for (const off of [null, false, undefined]) expect(() => build({ [name]: off })).not.toThrow();
  });
});
