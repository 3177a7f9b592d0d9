/** @file What to do when the GPU does not play along, in plain words. */
import type { AdapterView, Failure } from './protocol.ts';

export interface Advice {
  readonly title: string;
  readonly steps: readonly string[];
}

const NO_WEBGPU: Advice = {
  title: 'This browser gives the page no GPU (WebGPU), so it cannot train here. You can still look at the policies.',
  steps: [
    'Use a current Chrome, Edge, Safari (26 or later) or Firefox (141 or later), and open this page over https or on localhost.',
    'In Chrome or Edge switch on Settings, System, "Use graphics acceleration when available", and restart the browser.',
    'On Linux, Chrome may need chrome://flags/#enable-unsafe-webgpu and a Vulkan driver.',
  ],
};

const SOFTWARE: Advice = {
  title: 'This browser plays a GPU on the processor. Everything works, but slowly.',
  steps: ['For speed, switch on graphics acceleration in the settings of the browser, or update the graphics driver, and load the page again.', 'Or train with fewer steps: a short run shows the same stages.'],
};

const LOST: Advice = {
  title: 'The browser took the GPU away in the middle of the run (a driver reset, sleep, or too little memory). What was saved is still there.',
  steps: ['Press Resume to go on from the last checkpoint.', 'If it happens again, close other pages that use the GPU, or restart the browser.'],
};

/** Empty when all is well. */
export function adapterAdvice(adapter: AdapterView | Failure): readonly Advice[] {
  if ('message' in adapter) return [adapter.code === 'no-adapter' ? NO_WEBGPU : { title: `The GPU could not be opened: ${adapter.message}`, steps: NO_WEBGPU.steps }];
  return adapter.software ? [SOFTWARE] : [];
}

export function failureAdvice({ code, message }: Failure): Advice {
  if (code === 'device-lost') return LOST;
  if (code === 'no-adapter') return NO_WEBGPU;
  if (code === 'out-of-memory') return { title: `The GPU has too little memory. ${message}`, steps: ['Close other pages and programs that use the GPU.', 'Discard the run and choose fewer policies.'] };
  return { title: message, steps: code === 'unknown' ? ['Load the page again and press Resume: what was saved is still there.'] : [] };
}
