/** @file The data of a run, ClevrPolicy or GTAPolicy, as the page shows and asks it. */
import { citedConditions, type Example, type Split } from '@trimpi/datasets';
import { type RunConfig, runDataset, scoreItem } from '@trimpi/pipeline';
import type { PolicyView, SceneView } from '../protocol.ts';
import { fitting, testSizeFor } from './fitting.ts';
import { policyViews, sceneView } from './views.ts';

export interface RunQuestion {
  readonly example: Example;
  readonly scene: SceneView;
  right(completion: string): boolean;
  /** Ids of conditions and cases in a completion, also in the beginning of one. */
  cited(completion: string): string[];
}

export interface PageData {
  readonly policies: number;
  views(): PolicyView[];
  question(split: Split, index: number): RunQuestion;
  /** Test questions that come by a question or end at a case of a policy, `most` of them where there are so many. */
  fitting(policyId: string, nodeId: string, most: number): SceneView[];
}

/** What GTAPolicy needs is loaded when it is chosen. */
export async function pageData(config: RunConfig): Promise<PageData> {
  return config.benchmark === 'gta' ? (await import('./gta-views.ts')).gtaData(config) : clevrData(config);
}

/** A longer test set begins with the same examples: that of `fitting` is as long as it takes. */
function clevrData(config: RunConfig): PageData {
  const dataset = runDataset(config);
  const { policies } = dataset;
  return {
    policies: policies.length,
    views: () => policyViews(dataset),
    question(split, index) {
      const example = dataset.example(split, index);
      return { example, scene: sceneView(dataset, example), right: (text) => scoreItem({ example }, text).accuracy === 1, cited: citedConditions };
    },
    fitting: (policyId, nodeId, most) => fitting(runDataset({ ...config, testSize: Math.max(config.testSize, testSizeFor(most, config)) }), policyId, nodeId, most).map((example) => sceneView(dataset, example)),
  };
}
