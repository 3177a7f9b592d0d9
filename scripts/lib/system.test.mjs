import { describe, expect, it } from 'vitest';
import { ensureAdapter, ensureChromium, findChromium } from './system.mjs';
import { UserError } from './run.mjs';

const OK = { ok: true, info: {}, features: [], limits: {} };
const NONE = { ok: false, reason: 'no driver that Dawn accepts' };

/** A Debian 12 without driver and browser; commands are written down, and `installs` says what comes of them. */
function machine(overrides = {}) {
  const commands = [];
  const files = new Map();
  const probes = [NONE, OK];
  return {
    commands,
    files,
    platform: 'linux',
    env: { PATH: '/opt/bin' },
    isRoot: () => true,
    exists: (path) => files.has(path),
    osRelease: () => ({ ID: 'debian', VERSION_CODENAME: 'bookworm' }),
    aptSources: () => [{ uri: 'http://mirror.example/debian', suites: ['bookworm'], components: ['main'] }],
    writeFile: (path, content) => files.set(path, content),
    exec: async (words) => {
      commands.push(words.join(' '));
      if (words.includes('chromium')) files.set('/usr/bin/chromium', '');
      return { code: 0 };
    },
    probeAdapter: async () => probes.shift() ?? OK,
    log: () => {},
    ...overrides,
  };
}

function at(...paths) {
  return (path) => paths.includes(path);
}

describe('ensureAdapter', () => {
  it('does nothing where there is one', async () => {
    const here = machine({ probeAdapter: async () => OK });
    expect(await ensureAdapter(here)).toBe(OK);
    expect(here.commands).toEqual([]);
  });

  it('installs as root on Debian 12 from backports', async () => {
    const here = machine();
    expect(await ensureAdapter(here)).toBe(OK);
    expect(here.files.get('/etc/apt/sources.list.d/trimpi-backports.list')).toBe('deb http://mirror.example/debian bookworm-backports main\n');
    expect(here.commands).toEqual(['apt-get update', 'apt-get install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1']);
  });

  it('goes on when only the update of another archive fails', async () => {
    const here = machine();
    here.exec = async (words) => ({ code: words[1] === 'update' ? 100 : 0 });
    expect(await ensureAdapter(here)).toBe(OK);
  });

  it('prints the one command to anybody else, and touches nothing', async () => {
    const here = machine({ isRoot: () => false });
    await expect(ensureAdapter(here)).rejects.toThrow(/sudo sh -c "echo 'deb http:\/\/mirror\.example\/debian bookworm-backports main'/);
    expect(here.commands).toEqual([]);
    expect(here.files.size).toBe(0);
  });

  it('says what is wrong when the install or the driver fails, and on other systems', async () => {
    await expect(ensureAdapter(machine({ exec: async () => ({ code: 100 }) }))).rejects.toThrow(/ended with code 100/);
    await expect(ensureAdapter(machine({ probeAdapter: async () => NONE }))).rejects.toThrow(/still finds no adapter/);
    await expect(ensureAdapter(machine({ platform: 'darwin' }))).rejects.toThrow(/graphics driver/);
    await expect(ensureAdapter(machine({ osRelease: () => ({ ID: 'fedora' }) }))).rejects.toThrow(/dnf install/);
    await expect(ensureAdapter(machine({ osRelease: () => ({}) }))).rejects.toThrow(UserError);
  });
});

describe('Chromium', () => {
  it('is found by CHROMIUM_PATH, on the path, in the usual places', () => {
    expect(findChromium(machine({ env: { CHROMIUM_PATH: '/x/c' }, exists: at('/x/c', '/usr/bin/chromium') }))).toBe('/x/c');
    expect(findChromium(machine({ env: { CHROMIUM_PATH: '/x/none' }, exists: at('/usr/bin/chromium') }))).toBeUndefined();
    expect(findChromium(machine({ exists: at('/opt/bin/google-chrome') }))).toBe('/opt/bin/google-chrome');
    expect(findChromium(machine({ platform: 'darwin', exists: at('/Applications/Chromium.app/Contents/MacOS/Chromium') }))).toMatch(/Chromium$/);
    expect(findChromium(machine({ platform: 'win32', env: {}, exists: at('C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe') }))).toMatch(/chrome\.exe$/);
  });

  it('is installed as root on Debian, else asked for', async () => {
    const here = machine();
    expect(await ensureChromium(here)).toBe('/usr/bin/chromium');
    expect(here.commands.at(-1)).toBe('apt-get install -y --no-install-recommends chromium');
    await expect(ensureChromium(machine({ isRoot: () => false }))).rejects.toThrow(/sudo sh -c "apt-get update && apt-get install -y --no-install-recommends chromium"/);
    await expect(ensureChromium(machine({ env: { CHROMIUM_PATH: '/x/none' } }))).rejects.toThrow(/CHROMIUM_PATH points to \/x\/none/);
    await expect(ensureChromium(machine({ platform: 'darwin' }))).rejects.toThrow(/Install Chrome/);
  });
});
