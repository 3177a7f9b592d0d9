import { describe, expect, it } from 'vitest';
import { nodeVersionProblem } from './node-version.mjs';
import { ensurePnpm, pnpmVersion } from './pnpm.mjs';
import { npmCommand, run, UserError, withPath } from './run.mjs';
import { count, countVitest, exitCode, newTally, summary } from './tally.mjs';

function file(status, ...tests) {
  return { name: 'x.test.ts', status, message: 'cannot load\nat', assertionResults: tests.map((s) => ({ status: s, fullName: s })) };
}

function counted(report, code) {
  const tally = newTally();
  countVitest(tally, 'node', report, code);
  return [...summary(tally), exitCode(tally)];
}

describe('tally', () => {
  it('counts tests, files that did not load, and errors outside of tests', () => {
    expect(counted({ numTotalTests: 2, testResults: [file('passed', 'passed', 'passed')] }, 0)).toEqual(['2 passed, 0 failed', 0]);
    expect(counted({ numTotalTests: 3, testResults: [file('failed', 'passed', 'failed', 'skipped')] }, 1)).toEqual(['1 skipped', '1 passed, 1 failed', 1]);
    expect(counted({ numTotalTests: 1, testResults: [file('passed', 'passed'), file('failed')] }, 1)).toEqual(['1 passed, 1 failed', 1]);
    expect(counted({ numTotalTests: 1, testResults: [file('passed', 'passed')] }, 1)).toEqual(['1 passed, 1 failed', 1]);
  });

  it('a run without tests or without a report is no success', () => {
    expect(counted({ numTotalTests: 0, testResults: [] }, 0)).toEqual(['0 passed, 1 failed', 1]);
    expect(counted(undefined, 0)).toEqual(['0 passed, 1 failed', 1]);
    expect(exitCode(newTally())).toBe(1);
    const tally = newTally();
    count(tally, 'lint', true);
    expect(exitCode(tally)).toBe(0);
  });
});

describe('Node and pnpm', () => {
  it('knows which Node will do', () => {
    for (const good of ['v20.19.0', 'v20.20.2', 'v22.0.0', '24.1.0']) expect(nodeVersionProblem(good)).toBeUndefined();
    for (const bad of ['v20.18.9', 'v18.20.0']) expect(nodeVersionProblem(bad)).toMatch(/20\.19 or later/);
  });

  it('reads packageManager', () => {
    expect(pnpmVersion({ packageManager: 'pnpm@10.34.8' })).toBe('10.34.8');
    expect(pnpmVersion({ packageManager: 'pnpm@10.1.0+sha512.ab' })).toBe('10.1.0');
    for (const bad of ['yarn@1.0.0', 'pnpm@10', undefined]) expect(() => pnpmVersion({ packageManager: bad })).toThrow(UserError);
  });

  it('puts pnpm on the path', async () => {
    const { script, env } = await ensurePnpm({ env: { PATH: '/bin' } });
    expect(script).toMatch(/pnpm\.cjs$/);
    expect(env.PATH).toMatch(/\.bin.*\/bin$/);
    expect(withPath({ Path: 'b' }, 'a').Path).toMatch(/^a.b$/);
  });

  it('calls the npm that is running', () => {
    expect(npmCommand({ npm_execpath: '/x/npm-cli.js' })).toEqual({ command: process.execPath, args: ['/x/npm-cli.js'] });
    expect(npmCommand({ npm_execpath: '/x/pnpm.cjs' }).args).toEqual([]);
  });

  it('reports exit codes, missing commands and output', async () => {
    expect(await run(process.execPath, ['-e', 'console.log(1); process.exit(3)'], { capture: true })).toMatchObject({ code: 3, stdout: '1\n' });
    expect((await run('/no/such/command', [], { capture: true })).code).toBe(127);
  });

  it('asks a child to end, and waits for it', async () => {
    const stop = new AbortController();
    const child = run(process.execPath, ['-e', "process.on('SIGTERM', () => { console.log('saved'); process.exit(5); }); setInterval(() => {}, 1000); console.log('ready')"], { capture: true, signal: stop.signal });
    setTimeout(() => stop.abort(), 400);
    const { code, stdout } = await child;
    // Windows knows no such request.
    if (process.platform !== 'win32') expect({ code, stdout }).toEqual({ code: 5, stdout: 'ready\nsaved\n' });
  });
});
