/** @file What a run found, as data (`report.json`) and as a page that needs nothing else (`report.html`). */
import type { Proportion } from './interval.ts';

/** GTAPolicy's scores of calls, as means: tool and version right, share of right arguments, and the mean of both. */
export interface CallScores {
  readonly tool: number;
  readonly arguments: number;
  readonly overall: number;
}

export interface StageReport extends Proportion {
  readonly name: string;
  /** In words, for the page. */
  readonly title: string;
  /** Whether the policy was in the prompt of this evaluation. */
  readonly policyInPrompt: boolean;
  /** Mean tokens of the prompts of this evaluation. */
  readonly promptTokens: number;
  /** Median time of the first forward pass over one prompt. */
  readonly prefillMs: number;
  /** Tokens trained on in a second; 0 for a stage without training. */
  readonly tokensPerSecond: number;
  readonly seconds: number;
  /** Average absolute difference between how often ids are cited and how often they should be (the paper's branching error). */
  readonly branchingError?: number;
  /** GTAPolicy, of whose calls the accuracy is the share that is right in all. */
  readonly calls?: CallScores;
  /** Exact McNemar test against the stage it started from. */
  readonly pAgainstBefore?: number;
  /** RL only. */
  readonly rl?: RlReport;
}

export interface RlReport {
  /** Mean share of sampled groups in which some rollout has an advantage. */
  readonly groupsWithAdvantage: number;
  /** Mean accuracy of the sampled rollouts in the last quarter of the steps, by origin. */
  readonly accuracyFree: number;
  readonly accuracyPolicy?: number;
  readonly rollouts: number;
  /** Shares of the steps' time: generation, reward, rescoring, update; and what was not spent waiting for the device. */
  readonly time: Readonly<Record<string, number>>;
}

/** A line of the file of sampled completions. */
export interface SampledCompletion {
  readonly step: number;
  readonly id: string;
  readonly origin: string;
  readonly text: string;
  readonly accuracy: number;
  readonly advantage: number;
}

export interface Curve {
  readonly stage: string;
  readonly name: string;
  readonly points: readonly (readonly [step: number, value: number])[];
}

export interface ReportImage {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

export interface ReportExample {
  /** The first picture of the question, if it has one. */
  readonly image?: ReportImage;
  /** Its further pictures. */
  readonly further?: readonly ReportImage[];
  readonly query: string;
  readonly answer: string;
  readonly completions: readonly { readonly stage: string; readonly text: string; readonly correct: boolean }[];
}

export interface RunReport {
  readonly title: string;
  readonly seed: number;
  readonly adapter: string;
  readonly seconds: number;
  /** One over the number of cases that a scene can reach (GTAPolicy: of a tool's versions), as a mean over policies (questions), where it is known. */
  readonly chance?: number;
  readonly majority: number;
  /** The base with the policy in its prompt. */
  readonly inContext: Proportion & { readonly promptTokens: number; readonly prefillMs: number; readonly calls?: CallScores };
  /** What can be answered without reading the policy: the number of objects, a histogram of attributes. */
  readonly shortcuts?: { readonly objectCount: number; readonly histogram: number };
  /** Mean prompt tokens if the policies were written in the paper's prose, with and without the policy, same tokenizer. */
  readonly canonical?: { readonly withPolicy: number; readonly withoutPolicy: number; readonly prefillMs?: { readonly withPolicy: number; readonly withoutPolicy: number } | null };
  readonly stages: readonly StageReport[];
  /** What the numbers say in plain sentences, the disappointing ones included. */
  readonly findings: readonly string[];
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Sentences that the figures support: a stage helped where its interval lies above the one before; where they overlap, what the paired test says is said. */
export function findings(report: Omit<RunReport, 'findings'>): string[] {
  const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
  const out: string[] = [];
  report.stages.slice(1).forEach((stage, i) => {
    const before = stage.rl !== undefined || stage.name === 'grpo' || stage.name === 'poro-grpo' ? (report.stages.find((s) => s.name === 'cot-sft') ?? report.stages[i]!) : report.stages[i]!;
    const p = stage.pAgainstBefore;
    const change = `${percent(before.accuracy)} to ${percent(stage.accuracy)}${p === undefined ? '' : ` (paired test: p ${p < 0.001 ? '< 0.001' : `= ${p.toFixed(3)}`})`}`;
    if (stage.low > before.high) out.push(`${stage.title} helped: ${change} without the policy.`);
    else if (stage.high < before.low) out.push(`${stage.title} made it worse: ${change} without the policy.`);
    else if (p !== undefined && p < 0.05) out.push(`${stage.title} ${stage.accuracy > before.accuracy ? 'helped' : 'made it worse'} by the paired test alone: ${change} without the policy; the 95 % intervals overlap.`);
    else out.push(`${stage.title} did not help measurably in this run: ${change}, and the 95 % intervals overlap.`);
  });
  const last = report.stages[report.stages.length - 1];
  if (last !== undefined) {
    const { chance } = report;
    if (last.low > Math.max(chance ?? 0, report.majority)) out.push(`At the end the model answers without the policy above ${chance === undefined ? '' : `chance (${percent(chance)}) and above `}the majority answer (${percent(report.majority)}).`);
    else out.push(`At the end the model is not measurably above ${chance === undefined ? '' : `chance (${percent(chance)}) or `}the majority answer (${percent(report.majority)}).`);
    if (last.calls !== undefined) out.push(`Of its calls tool and version are right in ${percent(last.calls.tool)}, arguments in ${percent(last.calls.arguments)}; the mean of both is ${percent(last.calls.overall)}.`);
    out.push(`Its prompts hold ${last.promptTokens.toFixed(0)} tokens, against ${report.inContext.promptTokens.toFixed(0)} with the policy (${percent(1 - last.promptTokens / report.inContext.promptTokens)} fewer); prefill takes ${last.prefillMs.toFixed(1)} ms against ${report.inContext.prefillMs.toFixed(1)} ms.`);
    if (report.canonical !== undefined) out.push(`With the same policies in the paper's prose, prompts would hold ${report.canonical.withoutPolicy.toFixed(0)} tokens against ${report.canonical.withPolicy.toFixed(0)} (${percent(1 - report.canonical.withoutPolicy / report.canonical.withPolicy)} fewer), counted with the same tokenizer${report.canonical.prefillMs ? `; prefill would take ${report.canonical.prefillMs.withoutPolicy.toFixed(1)} ms against ${report.canonical.prefillMs.withPolicy.toFixed(1)} ms` : ''}.`);
    if (report.shortcuts !== undefined) out.push(`Shortcuts that read no policy: the number of objects alone answers ${percent(report.shortcuts.objectCount)}, a histogram of attributes learnt from all training answers ${percent(report.shortcuts.histogram)}.`);
  }
  return out;
}
