/** @file The benchmarks in the paper's prose, as chats of a real checkpoint. */
import {
  branchingError, branchingErrorRate, clevrOverride, type ClevrPolicyConfig, clevrPolicy, type Example, existenceQuestions, filterPhrase, gtaOverride, gtaPolicy, type RgbImage,
  scoreClevrPolicy, scoreGtaPolicy, scoreGtaReferral, scoreOverride, scoreReferral, shortcutBaselines, type Split, toolType,
} from '@trimpi/datasets';
import { majorityAccuracy, unseenCells } from '@trimpi/eval';
import { type DeviceLimits, type ModelFiles, Processor, stopTokenIds } from '@trimpi/model';
import type { Engine } from '@trimpi/runtime';
import { PipelineError } from '../errors.ts';
import { meanTokens, prefillTime } from '../evaluation/answers.ts';
import { mean } from '../evaluation/suite.ts';
import { measureProse, type OverrideQuestion, type ProseSuite } from '../evaluation/prose-suite.ts';
import { breath, type ChatExample, ChatTask } from '../internalise/chats.ts';
import { checkSizes, openLearner, planLearner } from '../internalise/learner.ts';
import { Pictures } from '../internalise/pictures.ts';
import type { Task, TaskItem } from '../task.ts';
import type { FoundBaselines, Place, Watch, Writing } from './place.ts';
import type { Setting } from './rows.ts';
import type { ReproduceSettings } from './settings.ts';

/** Examples of one seed: what is trained and asked, and what is asked beside it (each a test split). */
interface Drawn {
  readonly examples: readonly ChatExample[];
  readonly asked: readonly (readonly ChatExample[])[];
  /** @param asked items of `asked`, in the same order. */
  suite(test: readonly TaskItem[], asked: readonly (readonly TaskItem[])[]): ProseSuite;
  baselines(): Omit<FoundBaselines, 'canonical'>;
}

/** Questions of a scene: one to which the answer is yes, and one that just misses. */
const EXISTENCE_PER_SCENE = 2;
const OTHER_POLICIES = 8;

export class ProseWriting implements Writing {
  readonly #engine: Engine;
  readonly #base: ModelFiles;
  readonly #limits: DeviceLimits | undefined;
  readonly #processor: Processor;
  readonly #stopIds: readonly number[];

  private constructor(engine: Engine, base: ModelFiles, limits: DeviceLimits | undefined, processor: Processor, stopIds: readonly number[]) {
    this.#engine = engine;
    this.#base = base;
    this.#limits = limits;
    this.#processor = processor;
    this.#stopIds = stopIds;
  }

  static async create(engine: Engine, base: ModelFiles, limits: DeviceLimits | undefined): Promise<ProseWriting> {
    const processor = await Processor.load(base);
    return new ProseWriting(engine, base, limits, processor, await stopTokenIds(base, processor));
  }

  /** @throws PipelineError `invalid-option` for what is too long, ModelError `does-not-fit` before anything is loaded. */
  async open(setting: Setting, seed: number, settings: ReproduceSettings, watch: Watch): Promise<Place> {
    const { checkpoint, rl } = settings;
    if (checkpoint === undefined) throw new PipelineError('invalid-option', 'settings.checkpoint', 'is missing.', 'Use the settings of scale full.');
    const processor = this.#processor;
    const drawn = setting.benchmark === 'gta' ? await drawGta(seed, settings, watch) : await drawClevr(setting, seed, settings, watch);
    const chats = (examples: readonly ChatExample[]) => new ChatTask({ processor, examples, system: checkpoint.system, stopIds: this.#stopIds, testSize: 0 });
    const main = chats(drawn.examples);
    const asked = drawn.asked.map(chats);
    const check = () => watch.check();
    let sizes = await main.sizes(check);
    for (const other of asked) {
      const { prompt, image, patchesPerToken } = await other.sizes(check);
      sizes = {
        row: sizes.row, prompt: Math.max(sizes.prompt, prompt), patchesPerToken: Math.max(sizes.patchesPerToken, patchesPerToken),
        image: sizes.image === undefined || (image !== undefined && image[0] * image[1] > sizes.image[0] * sizes.image[1]) ? image : sizes.image,
      };
    }
    const config = { ...checkpoint, rl, seed };
    checkSizes(sizes, config, processor.config.maxPositionEmbeddings);
    const pictures = [...new Set([main, ...asked].flatMap((c) => c.pictures()))];
    const learning = { engine: this.#engine, limits: this.#limits, base: this.#base, processor, config, sizes, pictures };
    const { model, adapter, trainsVision, reset } = await openLearner(learning, await planLearner(learning));
    try {
      const ready = await Pictures.make(model, processor, pictures, { trainsVision, check, onProgress: (done, of) => watch.onProgress(done, of) });
      const task = main.make(ready);
      const suite = drawn.suite(task.test, asked.map((c) => c.make(ready).test));
      return {
        model, adapter, reset, task,
        maxTokens: checkpoint.maxTokens,
        maxRollouts: checkpoint.maxRollouts,
        measure: (context, aware) => measureProse({ ...context, model, adapter, task, maxRollouts: checkpoint.maxRollouts }, suite, aware),
        baselines: async () => ({ ...drawn.baselines(), canonical: await ownPrompts({ model, adapter, task }) }),
        dispose: () => model.dispose(),
      };
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  /** Every place has a model of its own. */
  dispose(): void {}
}

/** The prompts are in the paper's prose themselves. */
async function ownPrompts({ model, adapter, task }: Pick<Place, 'model' | 'adapter'> & { readonly task: Task }): Promise<FoundBaselines['canonical']> {
  const some = task.test.slice(0, 64);
  const [aware, free] = [true, false].map((policyInPrompt) => some.map((item) => item.prompt(policyInPrompt))) as [ReturnType<TaskItem['prompt']>[], ReturnType<TaskItem['prompt']>[]];
  return { withPolicy: meanTokens(aware), withoutPolicy: meanTokens(free), prefillMs: { withPolicy: await prefillTime(model, aware, adapter), withoutPolicy: await prefillTime(model, free, adapter) } };
}

// ---- ClevrPolicy

async function drawClevr({ benchmark, n }: Setting, seed: number, settings: ReproduceSettings, watch: Watch): Promise<Drawn> {
  const { policies, trainPerPolicy, reasonedPerPolicy, testSize, suiteSize, checkpoint } = settings;
  const form: ClevrPolicyConfig = { n, variant: benchmark === 'clevr-m' ? 'm' : 't', width: checkpoint!.width, height: checkpoint!.height };
  const run: ClevrPolicyConfig = { ...form, seed: `run ${seed}`, policies, train: trainPerPolicy * policies, test: testSize, reasoned: reasonedPerPolicy * policies };
  const dataset = clevrPolicy(run);
  const trees = new Map(dataset.policies.map((p) => [p.id, p.tree]));
  const [train, test] = [await drawAll(dataset, 'train', watch), await drawAll(dataset, 'test', watch)];
  const beside = { ...run, train: 0, test: suiteSize, reasoned: 0 };
  const overriding = (kind: 'all' | 'part') => drawAll(clevrOverride(beside, { kind, seed: `override ${seed}` }), 'test', watch);
  const override = [await overriding('all'), await overriding('part')];
  const others = await drawAll(clevrPolicy({ ...beside, seed: `other ${seed}`, policies: OTHER_POLICIES }), 'test', watch);
  const score = (answer: string) => (completion: string) => scoreClevrPolicy(completion, answer);
  return {
    // Only the first examples are trained with their reasoning.
    examples: [...train.map((e) => ({ example: e.reasoned ? e : { ...e, reasoning: '' }, score: score(e.answer) })), ...test.map((example) => ({ example, score: score(example.answer) }))],
    asked: [...[...override, others].map((items) => items.map((example): ChatExample => ({ example, score: score(example.answer) }))), existence(others)],
    suite: (own, [all, part, otherPolicies, exist]) => {
      const questions = (items: readonly TaskItem[], kind: 0 | 1) => items.map(({ prompt }, i): OverrideQuestion => ({
        // The update is a whole policy.
        prompt: () => prompt(false),
        score: (completion) => {
          const { accuracy, stubborn } = scoreOverride(completion, override[kind]![i]!);
          return { right: accuracy === 1, stubborn: stubborn === 1 };
        },
      }));
      return {
        test: own, override: { all: questions(all!, 0), part: questions(part!, 1) }, otherPolicies: otherPolicies!, existence: exist!,
        unseen: unseenCells(train.filter((e) => e.reasoned), test),
        reasoning: (completions) => ({
          branchingError: branchingError(completions, test.map((e) => e.response)).averageAbsoluteDifference,
          branchingErrorRate: mean(completions.map((c, i) => branchingErrorRate(c, trees.get(test[i]!.policyId)!))),
          referral: mean(completions.map((c, i) => scoreReferral(c, trees.get(test[i]!.policyId)!).score)),
        }),
      };
    },
    baselines: () => {
      const { chance, objectCount, histogram } = shortcutBaselines(dataset.policies, train, test);
      return { chance, majority: majorityAccuracy(train, test), objectCount, histogram };
    },
  };
}

type SceneExample = ReturnType<ReturnType<typeof clevrPolicy>['example']>;

/** Near-miss questions about scenes, asked as one asks a person. */
function existence(scenes: readonly SceneExample[]): ChatExample[] {
  return scenes.flatMap((example) =>
    existenceQuestions(example.scene, { seed: `forgetting ${example.id}`, count: EXISTENCE_PER_SCENE }).map(({ filter, answer }, k): ChatExample => ({
      example: { ...example, id: `${example.id}-exists-${k}`, query: `Does the image contain any ${filterPhrase(filter, true)}? Answer yes or no.`, policyParts: [], answer },
      score: (completion) => ({ accuracy: [...completion.toLowerCase().matchAll(/\b(?:yes|no)\b/g)].at(-1)?.[0] === answer ? 1 : 0, format: 1 }),
    })),
  );
}

// ---- GTAPolicy

async function drawGta(seed: number, { policies, trainPerPolicy, testSize, suiteSize, checkpoint }: ReproduceSettings, watch: Watch): Promise<Drawn> {
  const run = { seed: `run ${seed}`, train: trainPerPolicy * policies, test: testSize };
  const dataset = gtaPolicy(run);
  const [train, test] = [await drawAll(dataset, 'train', watch), await drawAll(dataset, 'test', watch)];
  const beside = { train: 0, test: suiteSize };
  const override = await drawAll(gtaOverride({ ...run, ...beside }, { seed: `override ${seed}`, controls: 0 }), 'test', watch);
  const others = await drawAll(gtaPolicy({ ...beside, seed: `other ${seed}`, policy: { seed: `other ${seed}`, size: 'medium' }, slices: false }), 'test', watch);
  const scenes = await drawAll(clevrPolicy({ seed: `other ${seed}`, n: 2, width: checkpoint!.width, height: checkpoint!.height, ...beside, reasoned: 0 }), 'test', watch);
  const asChat = (example: (typeof test)[number]): ChatExample => ({ example, score: (completion) => scoreGtaPolicy(completion, example.golds) });
  return {
    examples: [...train, ...test].map(asChat),
    asked: [override.map(asChat), others.map(asChat), existence(scenes)],
    suite: (own, [all, otherPolicies, exist]) => ({
      test: own, otherPolicies: otherPolicies!, existence: exist!,
      override: {
        all: all!.map(({ prompt, score }, i) => ({
          prompt,
          score: (completion) => ({ right: score(completion).accuracy === 1, stubborn: override[i]!.changed && scoreGtaPolicy(completion, override[i]!.oldGold).accuracy === 1 }),
        })),
      },
      unseen: test.map((e) => e.slice === 'unseenCell'),
      reasoning: (completions) => ({ referral: mean(completions.map((c, i) => scoreGtaReferral(c, dataset.rules, test[i]!.profile).score)) }),
      call: (i, completion) => scoreGtaPolicy(completion, test[i]!.golds),
    }),
    baselines: () => {
      const named = (items: typeof test) => items.map((e) => ({ ...e, policyId: typeOf(e.gold.name), answer: e.gold.name }));
      return { chance: mean(test.map((e) => 1 / (dataset.rules.versions[typeOf(e.gold.name)] ?? 1))), majority: majorityAccuracy(named(train), named(test)) };
    },
  };
}

/** The tool of a version: chance and majority are told which one is needed. */
function typeOf(name: string): string {
  return toolType(name)?.name ?? name;
}

// ----

/** All examples of a split. Their pictures are drawn anew whenever they are asked for: tens of thousands do not fit. */
async function drawAll<E extends Example>(dataset: { size(split: Split): number; example(split: Split, index: number): E }, split: Split, watch: Watch): Promise<E[]> {
  const examples: E[] = [];
  for (let i = 0; i < dataset.size(split); i++) {
    if (i % 256 === 255) await breath(() => watch.check());
    const example = dataset.example(split, i);
    const images = example.images.map(({ width, height }, k): RgbImage => ({
      width, height,
      get rgb() {
        return dataset.example(split, i).images[k]!.rgb;
      },
    }));
    examples.push(Object.defineProperties({}, { ...Object.getOwnPropertyDescriptors(example), images: { value: images, enumerable: true } }) as E);
  }
  return examples;
}
