import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ROOT, run } from './lib/run.mjs';

/** A repository with our scripts, in which pnpm, turbo, the adapter's probe and the command line are stand-ins that print. */
const root = realpathSync(mkdtempSync(join(tmpdir(), 'trimpi-bootstrap-')));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function put(path, text) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

cpSync(join(ROOT, 'scripts'), join(root, 'scripts'), { recursive: true });
put('package.json', '{ "type": "module", "packageManager": "pnpm@1.2.3" }');
put('.cache/bootstrap/pnpm-1.2.3/node_modules/pnpm/bin/pnpm.cjs', "console.log('pnpm');");
put('node_modules/turbo/bin/turbo', "console.log('turbo');");
put('scripts/lib/probe-webgpu.mjs', "console.log(JSON.stringify({ ok: true, info: { vendor: 'a vendor' } }));");
put('apps/cli/dist/main.js', 'console.log(JSON.stringify([process.cwd(), ...process.argv.slice(2)]));');
mkdirSync(join(root, 'docs'));

const bootstrap = (...args) => run(process.execPath, [join(root, 'scripts', 'bootstrap.mjs'), ...args], { cwd: root, env: { ...process.env, INIT_CWD: join(root, 'docs') }, capture: true });

describe('bootstrap', () => {
  it('trimpi: standard output is the command\'s alone, and paths are those of the folder that npm was called in', async () => {
    expect(await bootstrap('trimpi', 'data', 'check-policy', 'examples/sorting')).toEqual({ code: 0, stderr: '', stdout: `${JSON.stringify([join(root, 'docs'), 'data', 'check-policy', 'examples/sorting'])}\n` });
  });

  it('demo: the adapter is named on standard error', async () => {
    expect(await bootstrap('demo', '--json')).toEqual({ code: 0, stderr: 'WebGPU adapter: a vendor\n', stdout: `${JSON.stringify([join(root, 'docs'), 'demo', '--json'])}\n` });
  });

  it('what installs a package of the system writes to standard error', async () => {
    const code = "const { MACHINE } = await import(process.argv[1]); MACHINE.log('Installing'); await MACHINE.exec([process.execPath, '-e', 'console.log(1)']);";
    expect(await run(process.execPath, ['--input-type=module', '-e', code, join(root, 'scripts', 'lib', 'system.mjs')], { capture: true })).toEqual({ code: 0, stdout: '', stderr: 'Installing\n1\n' });
  });
});
