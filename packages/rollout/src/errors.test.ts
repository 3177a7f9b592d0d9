import { describe, expect, it } from 'vitest';
import { RolloutError, type RolloutErrorCode, bapo, cispo, clip, dapo, drGrpo, fromEasyR1, fromOpenRlhf, fromTrl, fromVerl, grpo, gspo, klPenalty, poro, poroDapo, poroGrpo, reinforcePlusPlus, rloo, importanceWeights, overlongPenalty } from './index.ts';
import { nearestName } from './error.ts';

const refused = (work: () => unknown): RolloutError => {
  try {
    work();
  } catch (error) {
    if (error instanceof RolloutError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};
const expectRefusal = (work: () => unknown, code: RolloutErrorCode, argument: string | RegExp, message?: RegExp): void => {
  const error = refused(work);
  expect(error.code).toBe(code);
  expect(error.argument).toMatch(argument);
  expect(error.remedy).toMatch(/\.$|\?$/);
  expect(error.message).toContain(error.remedy);
  expect(error.message).toContain(error.argument);
  if (message !== undefined) expect(error.message).toMatch(message);
};
const ok = { logps: [-1, -2], oldLogps: [-1, -2], advantages: [1], mask: [1, 1], shape: [1, 2] as [number, number] };

describe('advantages refuse', () => {
  const call = (input: object) => () => grpo().advantages(input as never);
  it.each<[string, object, RolloutErrorCode, RegExp]>([
    ['an empty batch', { rewards: [], groupIds: [] }, 'empty-batch', /^rewards$/],
    ['no rewards', { rewards: undefined, groupIds: [] }, 'invalid-argument', /^rewards$/],
    ['no names', { rewards: {}, groupIds: [] }, 'empty-batch', /^rewards$/],
    ['a NaN reward', { rewards: [1, NaN], groupIds: [0, 0] }, 'not-finite', /^rewards\[1\]$/],
    ['an infinite reward', { rewards: [Infinity], groupIds: [0] }, 'not-finite', /^rewards\[0\]$/],
    ['an undefined reward', { rewards: [1, undefined], groupIds: [0, 0] }, 'not-finite', /^rewards\[1\]$/],
    ['a NaN in a named column', { rewards: { a: [1, 2], b: [1, NaN] }, groupIds: [0, 0] }, 'not-finite', /^rewards\.b\[1\]$/],
    ['a NaN in a row', { rewards: [[1, 2], [NaN, 2]], groupIds: [0, 0] }, 'not-finite', /^rewards\[1\]\[0\]$/],
    ['columns of different length', { rewards: { a: [1, 2], b: [1] }, groupIds: [0, 0] }, 'length-mismatch', /^rewards\.b$/],
    ['a column that is none', { rewards: { a: [1, 2], b: 3 }, groupIds: [0, 0] }, 'invalid-argument', /^rewards\.b$/],
    ['rows of different length', { rewards: [[1, 2], [1]], groupIds: [0, 0] }, 'length-mismatch', /^rewards\[1\]$/],
    ['too few groups', { rewards: [1, 2], groupIds: [0] }, 'length-mismatch', /^groupIds$/],
    ['no groups', { rewards: [1, 2] }, 'length-mismatch', /^groupIds$/],
    ['an unknown group', { rewards: [1, 2], groupIds: [0, undefined] }, 'unknown-group', /^groupIds\[1\]$/],
    ['a NaN group', { rewards: [1, 2], groupIds: [0, NaN] }, 'unknown-group', /^groupIds\[1\]$/],
    ['too few origins', { rewards: [1, 2], groupIds: [0, 0], origin: ['free'] }, 'length-mismatch', /^origin$/],
    ['an unknown origin', { rewards: [1, 2], groupIds: [0, 0], origin: ['free', 'x'] }, 'invalid-argument', /^origin\[1\]$/],
    ['too few lengths', { rewards: [1, 2], groupIds: [0, 0], lengths: [1] }, 'length-mismatch', /^lengths$/],
    ['a negative length', { rewards: [1, 2], groupIds: [0, 0], lengths: [1, -1] }, 'invalid-argument', /^lengths\[1\]$/],
    ['a fractional length', { rewards: [1, 2], groupIds: [0, 0], lengths: [1.5, 1] }, 'invalid-argument', /^lengths\[0\]$/],
    ['an out of the wrong length', { rewards: [1, 2], groupIds: [0, 0], out: new Float64Array(3) }, 'length-mismatch', /^out$/],
  ])('%s', (_, input, code, argument) => expectRefusal(call(input), code, argument));
  it('what an estimator needs', () => {
    expectRefusal(() => reinforcePlusPlus().advantages({ rewards: [1], groupIds: [0] }), 'missing-need', 'lengths');
    expectRefusal(() => fromVerl({ adv_estimator: 'remax' }).advantages({ rewards: [1], groupIds: [0] }), 'missing-need', 'baselineRewards');
    expectRefusal(() => poro(grpo(), { baseline: 'separate' }).advantages({ rewards: [1], groupIds: [0] }), 'missing-need', 'origin');
    expectRefusal(() => poro(grpo(), { baseline: 'free-only' }).advantages({ rewards: [1], groupIds: [0], origin: ['policy'] }), 'invalid-argument', 'origin', /no policy-free rollout/);
    expectRefusal(() => poro(grpo(), { dropNegativePolicyRows: true }).advantages({ rewards: [1, 2], groupIds: [0, 0] }), 'missing-need', 'origin');
    expectRefusal(() => fromVerl({ adv_estimator: 'grpo_passk' }).advantages({ rewards: [1], groupIds: [0] }), 'invalid-argument', 'groupIds', /at least 2/);
    expectRefusal(() => fromVerl({ adv_estimator: 'opo' }).advantages({ rewards: [1, 2], groupIds: [0, 0], lengths: [0, 0] }), 'invalid-argument', 'lengths');
  });
  it('a baseline that the estimator does not have', () => {
    expectRefusal(() => poro(rloo(), { baseline: 'free-only' }), 'not-supported', 'baseline', /leaveOneOut/);
  });
  it('weights that do not fit', () => {
    expectRefusal(() => grpo({ rewardWeights: [1] }).advantages({ rewards: [[1, 2]], groupIds: [0] }), 'length-mismatch', 'rewardWeights');
    expectRefusal(() => grpo({ rewardWeights: { b: 1 } }).advantages({ rewards: { a: [1] }, groupIds: [0] }), 'unknown-option', 'rewardWeights.b', /The rewards are a/);
  });
  it('what differs from token to token', () => {
    expectRefusal(() => fromVerl({ adv_estimator: 'reinforce_plus_plus', gamma: 0.9 }).advantages({ rewards: [1], groupIds: [0] }), 'not-supported', 'advantages', /reinforcePlusPlusTokens/);
    expectRefusal(() => fromVerl({ adv_estimator: 'optimal_token_baseline' }).advantages({ rewards: [1], groupIds: [0] }), 'not-supported', 'advantages', /optimalTokenBaseline/);
  });
});

describe('loss refuses', () => {
  const call = (input: object) => () => grpo({ beta: 0.1 }).loss({ ...ok, refLogps: [-1, -2], ...input } as never);
  it.each<[string, object, RolloutErrorCode, RegExp]>([
    ['too few logps', { logps: [-1] }, 'length-mismatch', /^logps$/],
    ['too few oldLogps', { oldLogps: [-1] }, 'length-mismatch', /^oldLogps$/],
    ['too few refLogps', { refLogps: [-1] }, 'length-mismatch', /^refLogps$/],
    ['too few behaviorLogps', { behaviorLogps: [-1] }, 'length-mismatch', /^behaviorLogps$/],
    ['too few entropies', { entropy: [1] }, 'length-mismatch', /^entropy$/],
    ['too short a mask', { mask: [1] }, 'length-mismatch', /^mask$/],
    ['no mask', { mask: undefined }, 'length-mismatch', /^mask$/],
    ['a mask value', { mask: [1, 0.5] }, 'invalid-argument', /^mask\[1\]$/],
    ['advantages of neither length', { advantages: [1, 2, 3] }, 'length-mismatch', /^advantages$/],
    ['a NaN advantage', { advantages: [NaN] }, 'not-finite', /^advantages\[0\]$/],
    ['a NaN advantage of a token', { advantages: [1, NaN] }, 'not-finite', /^advantages\[1\]$/],
    ['no shape', { shape: undefined }, 'invalid-argument', /^shape$/],
    ['a fractional shape', { shape: [1, 1.5] }, 'invalid-argument', /^shape\[1\]$/],
    ['an empty shape', { shape: [0, 2], logps: [] }, 'empty-batch', /^shape$/],
    ['offsets without rows', { offsets: [0] }, 'empty-batch', /^offsets$/],
    ['offsets that do not start at 0', { offsets: [1, 2] }, 'invalid-argument', /^offsets\[0\]$/],
    ['falling offsets', { offsets: [0, 2, 1] }, 'invalid-argument', /^offsets\[2\]$/],
    ['NaN logps', { logps: [-1, NaN] }, 'not-finite', /^logps\[1\]$/],
    ['infinite logps', { logps: [-Infinity, -1] }, 'not-finite', /^logps\[0\]$/],
    ['NaN oldLogps', { oldLogps: [NaN, -1] }, 'not-finite', /^oldLogps\[0\]$/],
    ['infinite oldLogps', { oldLogps: [Infinity, -1] }, 'not-finite', /^oldLogps\[0\]$/],
    ['NaN refLogps', { refLogps: [-1, NaN] }, 'not-finite', /^refLogps\[1\]$/],
    ['infinite refLogps', { refLogps: [-1, -Infinity] }, 'not-finite', /^refLogps\[1\]$/],
    ['NaN entropy', { entropy: [1, NaN] }, 'not-finite', /^entropy\[1\]$/],
    ['NaN behaviorLogps', { behaviorLogps: [NaN, -1] }, 'not-finite', /^behaviorLogps\[0\]$/],
    ['an origin too many', { origin: ['free', 'free'] }, 'length-mismatch', /^origin$/],
    ['an out of the wrong length', { out: new Float64Array(1) }, 'length-mismatch', /^out$/],
    ['a step smaller than the batch', { numItemsInBatch: 1 }, 'invalid-argument', /^numItemsInBatch$/],
    ['a negative number of rows', { globalBatchSize: -1 }, 'invalid-argument', /^globalBatchSize$/],
    ['fewer rows than there are', { globalBatchSize: 0 }, 'invalid-argument', /^globalBatchSize$/],
  ])('%s', (_, input, code, argument) => expectRefusal(call(input), code, argument));
  it('NaN before it decides what to reject', () => {
    const rejecting = fromVerl({ rollout_rs: 'token_k2', rollout_rs_threshold: 1 });
    expectRefusal(() => rejecting.loss({ ...ok, behaviorLogps: [NaN, -1] }), 'not-finite', /^behaviorLogps\[0\]$/);
  });
  it('an input that a part needs, all of them at once and before any work', () => {
    const out = new Float64Array([7, 7]);
    const error = refused(() => fromTrl({ beta: 1, top_entropy_quantile: 0.5, use_vllm: true }).loss({ ...ok, out }));
    expect(error.code).toBe('missing-need');
    expect(error.argument.split(', ').sort()).toEqual(['behaviorLogps', 'entropy', 'refLogps']);
    expect(Array.from(out)).toEqual([7, 7]);
    expectRefusal(() => grpo().loss({ ...ok, oldLogps: undefined } as never), 'missing-need', 'oldLogps');
    expectRefusal(() => poro(grpo(), { ratioReference: 'behavior' }).loss(ok), 'missing-need', 'behaviorLogps, origin');
    expectRefusal(() => poro(grpo(), { ratioReference: 'shaped' }).loss(ok), 'missing-need', 'origin');
    expect(fromTrl({ beta: 1 }).needs).toEqual(['refLogps']);
  });
});

describe('options are refused with the nearest right name', () => {
  it.each<[() => unknown, RegExp]>([
    [() => grpo({ epsilonhigh: 1 } as never), /"epsilonHigh"/],
    [() => drGrpo({ max_completion_length: 1 } as never), /"maxCompletionLength"/],
    [() => dapo({ retries: 1 } as never), /"maxRetries"/],
    [() => rloo({ normalize: 1 } as never), /"normalizeAdvantages"/],
    [() => gspo({ levels: 1 } as never), /"level"/],
    [() => cispo({ epsilon: 1 } as never), /"epsilonHigh"/],
    [() => poroGrpo({ maxRetries: 1 }), /Did you mean/],
    [() => poroDapo({ beta: 1 }), /Did you mean/],
    [() => fromTrl({ epsilon_hihg: 0.3 }), /"epsilon_high"/],
    [() => fromTrl({ clip_ratio_low: 0.3 }), /Did you mean/],
    [() => fromVerl({ actor: { clip_ratio_hi: 0.3 } }), /"clip_ratio_high"/],
    [() => fromVerl({ 'aktor.clip_ratio': 0.3 }), /"actor"/],
    [() => fromEasyR1({ clip_ratio_dul: 3 }), /"clip_ratio_dual"/],
    [() => fromOpenRlhf({ eps_clip_lo_high: [0.1, 0.2] }), /"eps_clip_low_high"/],
    [() => fromTrl({ loss_type: 'drgrpo' }), /"dr_grpo"/],
    [() => fromVerl({ loss_mode: 'vanila' }), /"vanilla"/],
    [() => fromVerl({ rollout_rs: 'seq_mean_k4', rollout_rs_threshold: 1 }), /"seq_mean_k1"/],
    [() => poro(grpo(), { ratioReference: 'selfish' as never }), /"self"/],
    [() => poro(grpo(), { baseline: 'free' as never }), /"free-only"/],
    [() => fromTrl({ scale_rewards: 'groups' }), /"group"/],
  ])('%s', (work, message) => expectRefusal(work, 'unknown-option', /./, message));
  it('finds the nearest name', () => {
    expect(nearestName('beta_', ['epsilon', 'beta'])).toBe('beta');
    expect(nearestName('x', [])).toBeUndefined();
  });
});

describe('numbers out of range are refused', () => {
  it.each<[() => unknown, RegExp]>([
    [() => grpo({ epsilon: -0.1 }), /epsilon/],
    [() => grpo({ epsilonHigh: NaN }), /epsilonHigh/],
    [() => clip({ dualClip: 0.5 }), /dualClip/],
    [() => clip({ delta: -1 }), /delta/],
    [() => klPenalty(-1), /beta/],
    [() => drGrpo({ maxCompletionLength: 0 }), /maxCompletionLength/],
    [() => fromTrl({ epsilon: -1 }), /fromTrl\.epsilon/],
    [() => fromTrl({ epsilon: '0.2' }), /fromTrl\.epsilon/],
    [() => fromTrl({ use_vllm: 'yes' }), /fromTrl\.use_vllm/],
    [() => fromTrl([]), /fromTrl/],
    [() => fromOpenRlhf({ eps_clip_low_high: [0.1] }), /eps_clip_low_high/],
    [() => fromOpenRlhf({ enable_vllm_is_correction: true, vllm_is_truncated_threshold: 3 }), /vllm_is_truncated_threshold/],
    [() => fromVerl({ rollout_is: 'token', rollout_is_threshold: '5_2' }), /rollout_is_threshold/],
    [() => fromVerl({ rollout_is: 'token', rollout_is_threshold: true }), /rollout_is_threshold/],
    [() => fromVerl({ rollout_rs: 'token_k2', rollout_rs_threshold: '0.1_2' }), /rollout_rs_threshold/],
    [() => importanceWeights({ min: 3, max: 2 }), /min/],
    [() => poro(grpo(), { shapingGamma: -1 }), /shapingGamma/],
    [() => overlongPenalty(-1, { maxLength: 10, cache: 2 }), /length/],
    [() => overlongPenalty(1, { maxLength: 10, cache: 20 }), /cache/],
    [() => bapo({ step: 0 }), /step/],
  ])('%s', (work, argument) => expectRefusal(work, 'invalid-argument', argument));
  it('what needs a critic or chance is not supported', () => {
    expectRefusal(() => fromVerl({ adv_estimator: 'gae' }), 'not-supported', /adv_estimator/);
    expectRefusal(() => fromEasyR1({ adv_estimator: 'gae' }), 'not-supported', /adv_estimator/);
    expectRefusal(() => fromOpenRlhf({ advantage_estimator: 'gae' }), 'not-supported', /advantage_estimator/);
    expectRefusal(() => fromVerl({ loss_mode: 'clip_cov' }), 'not-supported', /loss_mode/, /kl_cov/);
    expectRefusal(() => fromVerl({ rollout_rs: 'token_k1' }), 'missing-need', /rollout_rs_threshold/);
    expectRefusal(() => fromVerl({ rollout_rs: 'token_k1,token_k2', rollout_rs_threshold: '1,2,3' }), 'length-mismatch', /rollout_rs_threshold/);
  });
});

describe('what a stranger tries first', () => {
  it.each<[string, () => unknown, Partial<RolloutError>]>([
    ['no options', () => grpo(null as never), { code: 'invalid-argument', argument: 'grpo', value: null }],
    ['a choice that is none', () => grpo({ scaleRewards: 'groop' as never }), { code: 'unknown-option', argument: 'scaleRewards', value: 'groop' }],
    ['no rollouts', () => grpo({ numGenerations: 0 }), { code: 'invalid-argument', argument: 'numGenerations', value: 0 }],
    ['no input', () => grpo().advantages(undefined as never), { code: 'invalid-argument', argument: 'advantages()' }],
    ['no batch', () => grpo().loss(undefined as never), { code: 'invalid-argument', argument: 'loss()' }],
    ['poro of nothing', () => poro(undefined as never), { code: 'invalid-argument', argument: 'objective' }],
    ['a wrong name in poro', () => poro(grpo(), { ratioRefrence: 'self' } as never), { code: 'unknown-option', argument: 'poro.ratioRefrence', value: 'self' }],
    ['a wrong choice in poro', () => poro(grpo(), { baseline: 'free' as never }), { code: 'unknown-option', argument: 'baseline', value: 'free' }],
    ['both names of one bound', () => fromTrl({ epsilon: 0.1, epsilon_low: 0.3 }), { code: 'invalid-argument', argument: 'fromTrl.epsilon_low', value: 0.3 }],
    ['a weight that is no number', () => grpo({ rewardWeights: [NaN] }).advantages({ rewards: [1], groupIds: [1] }), { code: 'invalid-argument', argument: 'rewardWeights[0]' }],
  ])('%s', (_, call, expected) => {
    let error: unknown;
    try {
      call();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(RolloutError);
    expect(error).toMatchObject(expected);
    expect((error as RolloutError).remedy).not.toBe('');
  });
  it('names the nearest right one', () => {
    expect(() => poro(grpo(), { ratioRefrence: 'self' } as never)).toThrow(/Did you mean "ratioReference"/);
    expect(() => grpo({ scaleRewards: 'groop' as never })).toThrow(/Did you mean "group"/);
    expect(fromTrl({ epsilon: 0.1, epsilon_low: 0.1 }).name).toBe('trl/dapo');
  });
});
