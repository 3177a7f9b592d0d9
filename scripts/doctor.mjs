/** @file `npm run doctor`: adapter, driver, features, limits, browser, and what would be installed. Changes nothing. */
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { chromiumPlan, commandLine, vulkanPlan } from './lib/apt.mjs';
import { findChromium, MACHINE, probeAdapter } from './lib/system.mjs';

const LIMITS = [
  'maxBufferSize', 'maxStorageBufferBindingSize', 'maxStorageBuffersPerShaderStage', 'maxComputeWorkgroupStorageSize', 'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX', 'maxComputeWorkgroupsPerDimension', 'minStorageBufferOffsetAlignment', 'maxBindGroups',
];

const row = (name, value) => console.log(`${name.padEnd(10)} ${value}`);
row('node', process.version);
row('system', `${os.type()} ${os.release()} ${os.arch()}, ${MACHINE.osRelease().PRETTY_NAME ?? os.version()}`);
row('processor', `${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown'}, ${(os.totalmem() / 2 ** 30).toFixed(1)} GiB`);

const missing = [];
const adapter = await probeAdapter();
if (adapter.ok) {
  row('adapter', Object.values(adapter.info).filter(Boolean).join(', '));
  row('driver', adapter.info.description || 'unknown');
  row('features', adapter.features.join(' '));
  for (const name of LIMITS) if (adapter.limits[name] !== undefined) row('limit', `${name} = ${adapter.limits[name].toLocaleString('en')}`);
} else {
  row('adapter', `none: ${adapter.reason}`);
  if (MACHINE.platform === 'linux') missing.push(['a Vulkan driver', vulkanPlan(MACHINE.osRelease(), MACHINE.aptSources())]);
  else missing.push(['a graphics driver with Metal or Direct3D 12', { advice: 'Update the system and its graphics driver.' }]);
}

const chromium = findChromium();
if (chromium === undefined) {
  row('browser', 'none');
  missing.push(['Chromium (for the browser tests)', MACHINE.platform === 'linux' ? chromiumPlan(MACHINE.osRelease()) : { advice: 'Install Chrome, Chromium or Edge.' }]);
} else row('browser', `${versionOf(chromium)} (${chromium})`);

if (missing.length === 0) console.log('\nNothing would be installed.');
for (const [what, plan] of missing) {
  console.log(`\nMissing: ${what}.`);
  if ('advice' in plan) console.log(plan.advice);
  else if (MACHINE.isRoot()) console.log(`npm test and npm run demo would run: ${commandLine(plan).replace(/^sudo /, '')}`);
  else console.log(`Run: ${commandLine(plan)}`);
}
process.exitCode = adapter.ok ? 0 : 1;

function versionOf(path) {
  try {
    // Chrome on Windows opens a window instead of telling its version.
    return MACHINE.platform === 'win32' ? 'installed' : execFileSync(path, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 20_000 }).trim();
  } catch {
    return 'does not start';
  }
}
