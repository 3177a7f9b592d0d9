/** @file The curves of a run's stages, from the metrics that are saved with every checkpoint. */
import type { RunStorage, StageName } from '@trimpi/pipeline';
import type { StageCurve } from '../protocol.ts';

/** Metrics that the page draws, by the names under which it draws them while training. */
const CURVES: Readonly<Record<string, string>> = {
  loss: 'loss', reward: 'reward', 'sampled_rewards/accuracy/free': 'accuracy without policy', 'sampled_rewards/accuracy/policy': 'accuracy with policy',
};

/** Of stages that are done and of the one under way, in the order of `stages`. */
export async function savedCurves(storage: Pick<RunStorage, 'read'>, stages: readonly StageName[]): Promise<StageCurve[]> {
  const out: StageCurve[] = [];
  for (const stage of stages) {
    const bytes = await storage.read(`metrics-${stage}.jsonl`);
    if (bytes === null) continue;
    const rows = new TextDecoder().decode(bytes).split('\n').flatMap(parsed);
    // The loss of an RL stage says little, and is not drawn while it trains.
    const shown = Object.entries(CURVES).filter(([key]) => key !== 'loss' || !rows.some((r) => 'reward' in r));
    for (const [key, name] of shown) {
      const points = rows.flatMap((r) => (typeof r[key] === 'number' ? [[r.step, r[key]] as const] : []));
      if (points.length > 0) out.push({ stage, name, points });
    }
  }
  return out;
}

type Row = { readonly step: number } & Readonly<Record<string, unknown>>;

/** A line that is torn is left out. */
function parsed(line: string): Row[] {
  try {
    return [JSON.parse(line) as Row];
  } catch {
    return [];
  }
}
