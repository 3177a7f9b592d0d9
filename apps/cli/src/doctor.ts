/** @file `trimpi doctor`: what this machine offers. Changes nothing. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { probeAdapter, type Probe } from './probe.ts';

const LIMITS = [
  'maxBufferSize', 'maxStorageBufferBindingSize', 'maxStorageBuffersPerShaderStage', 'maxComputeWorkgroupStorageSize', 'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX', 'maxComputeWorkgroupsPerDimension', 'minStorageBufferOffsetAlignment', 'maxBindGroups',
] as const;
/** Features that kernels have a faster variant for. */
const USED = ['subgroups', 'shader-f16', 'timestamp-query'] as const;

export async function doctor({ json }: { readonly json?: boolean }): Promise<void> {
  const adapter = await probeAdapter();
  const system = {
    node: process.version,
    system: `${os.type()} ${os.release()} ${os.arch()}, ${distribution() ?? os.version()}`,
    processor: `${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown'}, ${(os.totalmem() / 2 ** 30).toFixed(1)} GiB`,
  };
  const advice = adviceFor(adapter);
  if (json === true) console.log(JSON.stringify({ ...system, adapter, software: adapter.ok && isSoftware(adapter.info), advice }));
  else {
    for (const [name, value] of Object.entries(system)) row(name, value);
    if (adapter.ok) {
      row('adapter', Object.values(adapter.info).filter((text) => text !== '').join(', '));
      row('driver', adapter.info['description'] || 'unknown');
      row('features', adapter.features.join(' '));
      row('kernels', USED.map((f) => `${f}: ${adapter.features.includes(f) ? 'yes' : 'no'}`).join(', '));
      for (const name of LIMITS) if (adapter.limits[name] !== undefined) row('limit', `${name} = ${adapter.limits[name].toLocaleString('en')}`);
    } else row('adapter', `none: ${adapter.reason}`);
    console.log(`\n${advice}`);
  }
  process.exitCode = adapter.ok ? 0 : 1;
}

const row = (name: string, value: string): void => console.log(`${name.padEnd(10)} ${value}`);

const isSoftware = (info: Readonly<Record<string, string>>): boolean => /llvmpipe|lavapipe|swiftshader|software|basic render/i.test(Object.values(info).join(' '));

export function adviceFor(adapter: Probe, platform: NodeJS.Platform = process.platform): string {
  if (adapter.ok) return isSoftware(adapter.info) ? 'Everything works. This adapter is the CPU playing a GPU: right, but slow; a real GPU needs its Vulkan, Metal or Direct3D 12 driver.' : 'Everything works.';
  if (adapter.reason.includes('"webgpu"')) return 'Run: npm install webgpu';
  if (platform !== 'linux') return 'Update the system and its graphics driver; WebGPU needs Metal or Direct3D 12.';
  return "Install the GPU's Vulkan driver, or the software one (Mesa 25 or newer): mesa-vulkan-drivers on Debian, Ubuntu and Fedora, vulkan-swrast on Arch, mesa-vulkan-swrast on Alpine. Then run trimpi doctor again.";
}

function distribution(): string | undefined {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}
