/** @file The curves of a run's stages, from the metrics that are saved with every checkpoint. */
import type { RunStorage, StageName } from '@trimpi/pipeline';
import { chartsOf, rowsOf } from '../curves.ts';
import type { StageCurves } from '../protocol.ts';

/** Of stages that are done and of the one under way, in the order of `stages`. */
export async function savedCurves(storage: Pick<RunStorage, 'read'>, stages: readonly StageName[]): Promise<StageCurves[]> {
  const out: StageCurves[] = [];
  for (const stage of stages) {
    const bytes = await storage.read(`metrics-${stage}.jsonl`);
    if (bytes === null) continue;
    const steps = new TextDecoder().decode(bytes).split('\n').flatMap(parsed);
    for (const chart of chartsOf(stage)) {
      const rows = steps.flatMap((metrics) => rowsOf(chart, metrics));
      if (rows.length > 0) out.push({ stage, chart: chart.name, rows });
    }
  }
  return out;
}

type Step = { readonly step: number } & Readonly<Record<string, unknown>>;

/** A line that is torn is left out. */
function parsed(line: string): Step[] {
  try {
    return [JSON.parse(line) as Step];
  } catch {
    return [];
  }
}
