import { scoreClevrPolicy } from '@trimpi/datasets';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { internalise, resolveInternaliseConfig, runDataset, DEMO_CONFIG, memoryStorage } from './src/index.ts';
import { tinyBase, folderStorage } from './src/node.ts';
const device = await openDevice();
const dataset = runDataset({ ...DEMO_CONFIG, policies: Number(process.env.POLICIES ?? 2), trainPerPolicy: 50, testSize: 100 });
const examples = (['train','test'] as const).flatMap((split) => Array.from({ length: dataset.size(split) }, (_, i) => { const e = dataset.example(split, i); return { example: { ...e, reasoning: split==='train' && e.reasoned ? e.reasoning : '' }, score: (c: string) => scoreClevrPolicy(c, e.answer) }; }));
const S = process.env;
const config = resolveInternaliseConfig({ system: '', tune: (S.TUNE ?? 'lora') as 'lora', lora: { r: 16, loraAlpha: 32, targetModules: '' }, testSize: 100,
  vmCpt: { steps: Number(S.VM ?? 0), batchSize: 8, learningRate: 1e-3 }, sft: { steps: Number(S.SFT ?? 0), batchSize: 8, learningRate: 3e-3 },
  rl: { steps: Number(S.RL ?? 0), learningRate: Number(S.LR ?? 2e-3), promptsPerStep: 16, rollouts: 8, temperature: 1, maxNewTokens: 40 }, arms: Number(S.RL ?? 0) > 0 ? ['poro-grpo'] : [], saveSteps: 50 });
const report = await internalise({ config, title: 'try', examples, engine: new WebGpuEngine(device), adapterName: 'x', base: tinyBase(), storage: S.OUT ? folderStorage(S.OUT) : memoryStorage(),
  onEvent: (e) => { if (e.type === 'evaluated') console.log(e.stage, e.accuracy); else if (e.type === 'step' && e.step % 10 === 0) console.log(e.stage, e.step, e.value, e.secondsLeft.toFixed(0)); } });
console.log(report.inContext, report.stages.map((s) => [s.name, s.accuracy, s.promptTokens]));
device.dispose();
