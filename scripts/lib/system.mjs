/** @file Makes sure of a WebGPU adapter and of a Chromium: probes, installs as root where the system is known, else says what to do. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromiumPlan, commandLine, parseAptSources, parseOsRelease, vulkanPlan } from './apt.mjs';
import { ROOT, run, UserError } from './run.mjs';

/** This machine, in what the functions below ask of it. Tests put others in its place. */
export const MACHINE = {
  platform: process.platform,
  isRoot: () => process.getuid?.() === 0,
  env: process.env,
  exists: existsSync,
  osRelease: () => parseOsRelease(readIfThere('/etc/os-release')),
  aptSources: () => {
    const folder = '/etc/apt/sources.list.d';
    const files = existsSync(folder) ? readdirSync(folder).filter((name) => /\.(list|sources)$/.test(name)).map((name) => join(folder, name)) : [];
    return parseAptSources(['/etc/apt/sources.list', ...files].map(readIfThere));
  },
  writeFile: writeFileSync,
  exec: (words) => run(words[0], words.slice(1), { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, toStderr: true }),
  probeAdapter,
  log: (text) => console.error(text),
};

function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/**
 * Asks Dawn for an adapter, in a process of its own: a broken driver may end it.
 * @returns {Promise<{ ok: true, info: Record<string, string>, features: string[], limits: Record<string, number> } | { ok: false, reason: string }>}
 */
export async function probeAdapter() {
  const { code, stdout, stderr } = await run(process.execPath, [join(ROOT, 'scripts', 'lib', 'probe-webgpu.mjs')], { capture: true, timeout: 60_000 });
  try {
    const answer = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
    if (typeof answer.ok === 'boolean') return answer;
  } catch {
    // The process ended before it could answer.
  }
  return { ok: false, reason: (stderr.trim().split('\n').at(-1) ?? '') || `the probe ended with code ${code}` };
}

/** An adapter's description; installs a software driver on Linux when there is none. @throws UserError with the command that mends it. */
export async function ensureAdapter(machine = MACHINE) {
  let probe = await machine.probeAdapter();
  if (probe.ok) return probe;
  if (machine.platform !== 'linux') {
    throw new UserError(`There is no WebGPU adapter (${probe.reason}). Update the graphics driver; a virtual machine needs one with Metal, Direct3D 12 or Vulkan.`);
  }
  const plan = vulkanPlan(machine.osRelease(), machine.aptSources());
  await install(plan, 'a Vulkan driver for WebGPU', probe.reason, machine);
  probe = await machine.probeAdapter();
  if (!probe.ok) throw new UserError(`The Vulkan software driver was installed, but WebGPU still finds no adapter: ${probe.reason}. Run: npm run doctor`);
  return probe;
}

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome', 'microsoft-edge'];
const PLACES = {
  darwin: ['/Applications/Google Chrome.app/Contents/MacOS/Google Chrome', '/Applications/Chromium.app/Contents/MacOS/Chromium', '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge'],
  win32: ['C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe', 'C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe', 'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe'],
};

/** Path of a Chromium on this machine: `CHROMIUM_PATH`, the search path, the usual places. */
export function findChromium(machine = MACHINE) {
  const chosen = machine.env.CHROMIUM_PATH;
  if (chosen !== undefined && chosen !== '') return machine.exists(chosen) ? chosen : undefined;
  const folders = machine.platform === 'linux' ? ['/usr/bin', ...(machine.env.PATH ?? '').split(delimiter), '/snap/bin'] : [];
  const candidates = [...NAMES.flatMap((name) => folders.filter(Boolean).map((folder) => `${folder}/${name}`)), ...(PLACES[machine.platform] ?? [])];
  return candidates.find((path) => machine.exists(path));
}

/** As `findChromium`, and installs Debian's when there is none. @throws UserError with the command that mends it. */
export async function ensureChromium(machine = MACHINE) {
  const found = findChromium(machine);
  if (found !== undefined) return found;
  if (machine.env.CHROMIUM_PATH) throw new UserError(`CHROMIUM_PATH points to ${machine.env.CHROMIUM_PATH}, where there is no file. Correct it, or unset it to use the system's Chromium.`);
  const plan = machine.platform === 'linux' ? chromiumPlan(machine.osRelease()) : { advice: 'Install Chrome, Chromium or Edge, or point CHROMIUM_PATH to one.' };
  await install(plan, 'Chromium for the browser tests', 'none was found', machine);
  const installed = findChromium(machine);
  if (installed === undefined) throw new UserError('Chromium was installed, but is not found. Point CHROMIUM_PATH to it.');
  return installed;
}

async function install(plan, what, reason, machine) {
  if ('advice' in plan) throw new UserError(`This machine lacks ${what} (${reason}). ${plan.advice}`);
  if (!machine.isRoot()) throw new UserError(`This machine lacks ${what} (${reason}). Run this one command, then try again:\n\n  ${commandLine(plan)}\n`);
  machine.log(`Installing ${what} ...`);
  if (plan.file !== undefined) machine.writeFile(plan.file.path, plan.file.content);
  let failed;
  for (const words of plan.commands) {
    const { code } = await machine.exec(words);
    // An update may fail for another archive than the one needed; the install decides.
    if (code !== 0) failed = { words, code };
    else if (words[1] === 'install') failed = undefined;
  }
  if (failed !== undefined) throw new UserError(`${what} could not be installed: "${failed.words.join(' ')}" ended with code ${failed.code}. Run it by hand to see why.`);
}
