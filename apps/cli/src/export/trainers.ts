/** @file `trimpi export --to trl|verl`: prompts, images and right answers for other trainers, and the rewards as Python. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodePng, type Example, TOOLS } from '@trimpi/datasets';
import { exportDataset } from '@trimpi/datasets/node';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { openStored, type StoredDataset, type StoredItem } from '../data/stored.ts';
import { UsageError } from '../errors.ts';
import { checkFree, wholeFolder } from '../folder.ts';
import { interruptible } from '../interrupt.ts';
import { Progress } from '../progress.ts';

export interface TrainerExport {
  readonly data: string;
  readonly to: 'trl' | 'verl';
  readonly out: string;
  readonly withPolicy?: boolean;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export async function exportForTrainer({ data, to, out, withPolicy = false, overwrite = false, json = false }: TrainerExport): Promise<void> {
  checkFree(out, overwrite);
  const stored = await openStored(data);
  const reward = rewardScript(stored);
  const progress = json ? undefined : new Progress();
  const counts = await interruptible((_signal, check) =>
    wholeFolder(out, overwrite, async (work) => {
      let done = 0;
      const seen = (example: StoredItem): StoredItem => {
        check();
        progress?.show({ type: 'progress', what: 'examples', done: ++done, of: stored.examples.length });
        return example;
      };
      writeFileSync(join(work, 'reward.py'), reward);
      writeFileSync(join(work, 'README.md'), readme(to, stored, withPolicy));
      if (to === 'trl') await exportDataset(work, withGroundTruth(stored, seen), { format: 'trl-grpo', file: 'parquet', policy: withPolicy });
      else for (const split of ['train', 'test'] as const) writeVerl(join(work, `${split}.parquet`), stored, split, withPolicy, seen);
      return { train: countOf(stored, 'train'), test: countOf(stored, 'test') };
    }).finally(() => progress?.end()),
  );
  console.log(json ? JSON.stringify({ out, to, ...counts }) : `${counts.train} training and ${counts.test} test rows for ${to === 'trl' ? 'TRL' : 'verl'} in ${out}, with reward.py; README.md there says how to begin.`);
}

const countOf = ({ examples }: StoredDataset, split: 'train' | 'test'): number => examples.filter((e) => e.split === split).length;
/** What reward.py reads: the list of right answers. */
const groundTruth = (example: StoredItem): string => JSON.stringify(example.golds);

/** TRL's `solution` column holds the ground truth. */
function* withGroundTruth({ examples }: StoredDataset, seen: (example: StoredItem) => StoredItem): Generator<Example> {
  for (const example of examples) {
    seen(example);
    const { id, split, policyId, policyName, query, reasoning, response, policyText } = example;
    yield {
      id, split, policyId, policyName, query, reasoning, response, policyText, answer: groundTruth(example),
      get images() {
        return example.images;
      },
      get policyParts() {
        return example.policyParts;
      },
    };
  }
}

/** The rewards as a Python file for this dataset. @throws UsageError for a scorer that is a JavaScript function. */
export function rewardScript({ kind, scorer }: Pick<StoredDataset, 'kind' | 'scorer'>): string {
  if (scorer?.type === 'module') throw new UsageError(`The scorer of this policy is the function ${scorer.function} of ${scorer.module}, which Python cannot call. Describe it as data (exact, set, number, regex, toolCall), or write its reward in Python yourself.`);
  const tools = Object.fromEntries(TOOLS.flatMap((tool) => {
    const optional = Object.fromEntries(tool.arguments.flatMap((a) => (a.required ? [] : [[a.name, a.default ?? null]])));
    const names = tool.versions === 0 ? [tool.name] : Array.from({ length: tool.versions }, (_, i) => `${tool.name}_v${i + 1}`);
    return Object.keys(optional).length === 0 ? [] : names.map((name) => [name, optional] as const);
  }));
  const values = { KIND: kind, SPEC: scorer ?? {}, TOOLS: kind === 'gta-policy' || scorer?.type === 'toolCall' ? tools : {} };
  return Object.entries(values).reduce((text, [name, value]) => text.replace(new RegExp(`^${name} = .*$`, 'm'), () => `${name} = ${python(value)}`), readFileSync(rewardFile(), 'utf8'));
}

/** Beside the sources while developing, beside the bundle when installed. */
function rewardFile(): string {
  return fileURLToPath(new URL('reward.py', import.meta.url));
}

/** A JSON value as Python writes it. */
function python(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  return `{${Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${python(v)}`).join(', ')}}`;
}

const UTF8 = { type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' } as const;
const list = (name: string, children: number) => [
  { name, repetition_type: 'OPTIONAL', converted_type: 'LIST', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', repetition_type: 'OPTIONAL', num_children: children },
];
/** The columns that verl's RLHFDataset reads. */
const VERL_SCHEMA = [
  { name: 'root', num_children: 6 },
  { name: 'data_source', ...UTF8 },
  ...list('prompt', 2), { name: 'role', ...UTF8 }, { name: 'content', ...UTF8 },
  ...list('images', 2), { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' }, { name: 'path', ...UTF8 },
  { name: 'ability', ...UTF8 },
  { name: 'reward_model', repetition_type: 'OPTIONAL', num_children: 2 }, { name: 'style', ...UTF8 }, { name: 'ground_truth', ...UTF8 },
  { name: 'extra_info', repetition_type: 'OPTIONAL', num_children: 3 }, { name: 'id', ...UTF8 }, { name: 'policy', ...UTF8 }, { name: 'split', ...UTF8 },
];

function writeVerl(file: string, { kind, examples }: StoredDataset, split: 'train' | 'test', withPolicy: boolean, seen: (example: StoredItem) => StoredItem): void {
  const rows = examples.filter((e) => e.split === split);
  if (rows.length === 0) return;
  const column = <T>(name: string, of: (example: StoredItem) => T) => ({ name, data: rows.map(of) });
  const buffer = parquetWriteBuffer({
    columnData: [
      column('data_source', () => `trimpi/${kind}`),
      column('prompt', (e) => [{ role: 'user', content: `${withPolicy ? `${e.policyText}\n\n` : ''}${'<image>'.repeat(e.images.length)}${e.query}` }]),
      column('images', (e) => [...(withPolicy ? e.policyParts.flatMap((part) => (part.type === 'image' ? [part.image] : [])) : []), ...seen(e).images].map((image, i) => ({ bytes: encodePng(image), path: `${e.id}-${i}.png` }))),
      column('ability', () => 'policy'),
      column('reward_model', (e) => ({ style: 'rule', ground_truth: groundTruth(e) })),
      column('extra_info', (e) => ({ id: e.id, policy: e.policyName, split })),
    ] as Parameters<typeof parquetWriteBuffer>[0]['columnData'],
    schema: VERL_SCHEMA as unknown as NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>,
    createdBy: 'trimpi',
  });
  writeFileSync(file, new Uint8Array(buffer));
}

function readme(to: 'trl' | 'verl', { kind, examples }: StoredDataset, withPolicy: boolean): string {
  const head = `# ${kind} for ${to === 'trl' ? 'TRL' : 'verl'}

${examples.length} rows, ${withPolicy ? 'with the policy in every prompt' : 'without the policy in the prompts: what is deployed'}. \`reward.py\` computes what TriMPI computes:
accuracy and format of \`<think>...</think>\` and one \`\\boxed{...}\`, weighted 0.9 and 0.1.
`;
  return to === 'trl' ? `${head}
\`\`\`python
from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer
from reward import accuracy_reward, format_reward

data = load_dataset("parquet", data_files={"train": "train.parquet", "test": "test.parquet"})
trainer = GRPOTrainer(
    model="Qwen/Qwen2.5-VL-7B-Instruct",
    reward_funcs=[accuracy_reward, format_reward],
    args=GRPOConfig(output_dir="out", reward_weights=[0.9, 0.1], num_generations=8, max_completion_length=2048),
    train_dataset=data["train"],
)
trainer.train()
\`\`\`
` : `${head}
\`\`\`sh
python -m verl.trainer.main_ppo algorithm.adv_estimator=grpo \\
  data.train_files=train.parquet data.val_files=test.parquet data.image_key=images \\
  custom_reward_function.path=reward.py custom_reward_function.name=compute_score \\
  actor_rollout_ref.model.path=Qwen/Qwen2.5-VL-7B-Instruct actor_rollout_ref.rollout.n=8
\`\`\`
`;
}
