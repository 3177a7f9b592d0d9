import { openDevice, ReferenceEngine, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe } from 'vitest';
import { CASES, goldenForward, goldenLora } from './golden-suite.ts';

const device = await openDevice();
const webgpu = new WebGpuEngine(device);
afterAll(() => device.dispose());

describe('golden forward of transformers on WebGPU', () => goldenForward(webgpu, CASES));
describe('golden forward of transformers on the float64 reference', () => goldenForward(new ReferenceEngine(), ['case_text_only']));
describe('golden LoRA of PEFT', () => goldenLora(webgpu));
