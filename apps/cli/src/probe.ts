/** @file Asks Dawn for an adapter, in a process of its own: a broken driver may end it. */
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

export type Probe =
  | { readonly ok: true; readonly info: Readonly<Record<string, string>>; readonly features: readonly string[]; readonly limits: Readonly<Record<string, number>> }
  | { readonly ok: false; readonly reason: string };

/** Runs in the child; a device that cannot hand four bytes back is none. */
const CHILD = `
const { create, globals } = await import(process.argv[1]);
Object.assign(globalThis, globals);
const done = (answer) => process.stdout.write(JSON.stringify(answer) + '\\n', () => process.exit(0));
try {
  const adapter = await create([]).requestAdapter();
  if (adapter === null) done({ ok: false, reason: 'no driver that Dawn accepts' });
  else {
    const { vendor, architecture, device, description } = adapter.info;
    const limits = {};
    for (const key in adapter.limits) if (typeof adapter.limits[key] === 'number') limits[key] = adapter.limits[key];
    const gpu = await adapter.requestDevice();
    const buffer = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    gpu.queue.writeBuffer(buffer, 0, new Uint32Array([7]));
    await buffer.mapAsync(GPUMapMode.READ);
    const value = new Uint32Array(buffer.getMappedRange())[0];
    done(value === 7 ? { ok: true, info: { vendor, architecture, device, description }, features: [...adapter.features].sort(), limits } : { ok: false, reason: 'the device gives wrong data back' });
  }
} catch (error) {
  done({ ok: false, reason: String(error?.message ?? error) });
}`;

export async function probeAdapter(env: NodeJS.ProcessEnv = process.env): Promise<Probe> {
  let dawn: string;
  try {
    dawn = pathToFileURL(createRequire(import.meta.url).resolve('webgpu')).href;
  } catch {
    return { ok: false, reason: 'the package "webgpu" is not installed' };
  }
  return new Promise((settle) => {
    execFile(process.execPath, ['--input-type=module', '-e', CHILD, dawn], { env, timeout: 60_000 }, (error, stdout, stderr) => {
      try {
        settle(JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Probe);
      } catch {
        settle({ ok: false, reason: stderr.trim().split('\n').at(-1) || `the probe ended with ${error?.signal ?? error?.code ?? 'no answer'}` });
      }
    });
  });
}
