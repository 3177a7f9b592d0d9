import { describe, expect, it } from 'vitest';
import { adviceFor } from '../src/doctor.ts';
import { probeAdapter } from '../src/probe.ts';
import { trimpi } from './helpers.ts';

describe('trimpi doctor', () => {
  it('tells adapter, features and limits', async () => {
    const { code, stdout } = await trimpi('doctor', '--json');
    const report = JSON.parse(stdout) as { node: string; adapter: { ok: boolean; limits: Record<string, number> }; advice: string };
    expect([code, report.node]).toEqual([0, process.version]);
    // What the WebGPU specification promises everywhere.
    expect(report.adapter.limits['maxBindGroups']).toBeGreaterThanOrEqual(4);
    expect(report.adapter.limits['maxBufferSize']).toBeGreaterThanOrEqual(2 ** 28);
    expect(report.advice).toMatch(/^Everything works/);
  });

  it('a machine without a driver is told what to install', async () => {
    const none = await probeAdapter({ ...process.env, VK_ICD_FILENAMES: '/none.json', VK_DRIVER_FILES: '/none.json' });
    if (process.platform === 'linux') expect(none.ok).toBe(false);
    expect(adviceFor({ ok: false, reason: 'no driver that Dawn accepts' }, 'linux')).toContain('mesa-vulkan-drivers');
    expect(adviceFor({ ok: false, reason: 'no driver' }, 'darwin')).toContain('Metal');
    expect(adviceFor({ ok: false, reason: 'the package "webgpu" is not installed' }, 'linux')).toContain('npm install webgpu');
  });
});
