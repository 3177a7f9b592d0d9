/**
 * @file The golden cases of transformers and PEFT in a browser, on whatever WebGPU it has (SwiftShader in the tests'
 * Chromium); tokens, templates and preprocessing are in `src/processor.browser.test.ts`.
 */
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, beforeAll, describe } from 'vitest';
import { fetched } from './golden-cases.ts';
import { CASES, goldenForward, goldenGreedy, goldenLora } from './golden-suite.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

beforeAll(async () => {
  // Vite serves a URL made of a template from a glob of that one folder, so every folder has its own.
  const places: [string, URL][] = [
    ...[...CASES, 'generate_single', 'lora_text', 'lora_train_adamw'].map((name): [string, URL] => [`${name}.safetensors`, new URL(`./fixtures/qwen25vl/${name}.safetensors`, import.meta.url)]),
    ...['config.json', 'model.safetensors'].map((name): [string, URL] => [`model/${name}`, new URL(`./fixtures/qwen25vl/model/${name}`, import.meta.url)]),
    ...['adapter_config.json', 'adapter_model.safetensors'].map((name): [string, URL] => [`adapter_text/${name}`, new URL(`./fixtures/qwen25vl/adapter_text/${name}`, import.meta.url)]),
  ];
  for (const [name, url] of places) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    fetched.set(name, new Uint8Array(await response.arrayBuffer()));
  }
});

describe('golden forward of transformers in this browser', () => goldenForward(engine, CASES));
describe('golden LoRA of PEFT in this browser', () => goldenLora(engine));
describe('golden greedy ids of transformers in this browser', () => goldenGreedy(engine));
