/** @file Which numbers of the trainer the charts of a stage show. */
import type { StageName } from '@trimpi/pipeline';
import type { Line, Row } from './chart.ts';

export interface StageChart {
  readonly name: string;
  readonly lines: readonly (Line & { /** Under this name the trainer has it. */ readonly key: string })[];
}

const LOSS: StageChart = { name: 'loss', lines: [{ key: 'loss', name: 'loss', colour: 0, dash: 0 }] };
const REWARD = { key: 'reward', name: 'all rollouts', colour: 0, dash: 0 };
/** Rollouts without the policy in their prompt, and with it. */
const [FREE, AWARE] = [{ name: 'policy-free', colour: 1, dash: 1 }, { name: 'policy-aware', colour: 2, dash: 2 }];
const PLAIN: readonly StageChart[] = [{ name: 'reward', lines: [REWARD] }, { name: 'accuracy', lines: [{ ...FREE, dash: 0, key: 'sampled_rewards/accuracy/free' }] }];
const BY_ORIGIN: readonly StageChart[] = [
  { name: 'reward by origin', lines: [REWARD, { ...FREE, key: 'reward/free' }, { ...AWARE, key: 'reward/policy' }] },
  { name: 'accuracy by origin', lines: [{ ...FREE, key: 'sampled_rewards/accuracy/free' }, { ...AWARE, key: 'sampled_rewards/accuracy/policy' }] },
];

/** The base is not trained. RL learns from rewards; its loss says little. */
export function chartsOf(stage: StageName): readonly StageChart[] {
  if (stage === 'base') return [];
  if (stage === 'vm-cpt' || stage === 'cot-sft') return [LOSS];
  return stage.startsWith('poro-') ? BY_ORIGIN : PLAIN;
}

/** A step in a chart; none when the trainer has nothing for it. */
export function rowsOf({ lines }: StageChart, metrics: Readonly<Record<string, unknown>> & { readonly step: number }): Row[] {
  const values = lines.map(({ key }) => (typeof metrics[key] === 'number' ? metrics[key] : null));
  return values.every((v) => v === null) ? [] : [[metrics.step, ...values]];
}
