/** @file GTA's step metrics: is it a call at all, is it the tool, are the arguments, and F1 of tools by category. */
import { toolType, TOOLS, type ToolCall } from '../tools.ts';
import { parseToolCall } from './score.ts';
import { scoreArguments, type TextSimilarity } from './arguments.ts';

export interface StepPrediction {
  readonly completion: string;
  readonly golds: readonly ToolCall[];
}

export interface GtaStepMetrics {
  /** Share of completions that are a well-formed call of a known tool. */
  readonly instAcc: number;
  /** Share with the right tool. */
  readonly toolAcc: number;
  /** Share with the right tool and all arguments right (score 1; texts from 0.9). */
  readonly argAcc: number;
  /** F1 of the tool types of each category over all steps; undefined where neither side uses it. */
  readonly f1: Readonly<Record<'perception' | 'operation' | 'logic' | 'creativity', number | undefined>>;
}

const category = (name: string): string | undefined => toolType(name)?.category;
const same = (a: ToolCall, name: string): boolean => a.name === name;

/** GTA's step-by-step metrics over a list of predictions. */
export function gtaStepMetrics(predictions: readonly StepPrediction[], similarity?: TextSimilarity): GtaStepMetrics {
  const parsed = predictions.map(({ completion, golds }) => ({ call: parseToolCall(completion), golds }));
  const share = (test: (item: (typeof parsed)[number]) => boolean): number => (parsed.length === 0 ? 0 : parsed.filter(test).length / parsed.length);
  const f1 = (wanted: string): number | undefined => {
    let both = 0;
    let given = 0;
    let gold = 0;
    for (const { call, golds } of parsed) {
      const right = golds[0];
      if (call && category(call.name) === wanted) given++;
      if (right && category(right.name) === wanted) gold++;
      if (call && right && category(right.name) === wanted && toolType(call.name)?.name === toolType(right.name)?.name) both++;
    }
    return given + gold === 0 ? undefined : (2 * both) / (given + gold);
  };
  return {
    instAcc: share(({ call }) => call !== undefined && TOOLS.some((tool) => tool.name === toolType(call.name)?.name)),
    toolAcc: share(({ call, golds }) => call !== undefined && golds.some((gold) => same(gold, call.name))),
    argAcc: share(({ call, golds }) => call !== undefined && golds.some((gold) => same(gold, call.name) && scoreArguments(call.arguments, gold, similarity) >= 0.9)),
    f1: { perception: f1('perception'), operation: f1('operation'), logic: f1('logic'), creativity: f1('creativity') },
  };
}
