import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type * as Fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { folderObstacle, PartialFolder } from '../src/node/index.ts';

/** Renames and removals that the file system refuses, by the path they go to or take away. */
const refused = vi.hoisted(() => ({ busy: (_path: string): boolean => false }));
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof Fs>();
  const guard = (path: unknown): void => {
    if (refused.busy(String(path))) throw new Error(`EBUSY: resource busy or locked, '${String(path)}'`);
  };
  return {
    ...fs,
    renameSync: (from: string, to: string) => (guard(to), fs.renameSync(from, to)),
    rmSync: (path: string, options: Fs.RmOptions) => (guard(path), fs.rmSync(path, options)),
  };
});

const root = mkdtempSync(join(tmpdir(), 'trimpi-partial-'));
afterAll(() => {
  refused.busy = () => false;
  rmSync(root, { recursive: true });
});
let dir = '';
beforeEach((context) => {
  refused.busy = () => false;
  dir = join(root, context.task.id, 'out');
  mkdirSync(join(root, context.task.id));
});

const around = (): string[] => readdirSync(join(dir, '..'));
function write(partial: PartialFolder, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(partial.path, name), text);
}
const held = (folder: string): Record<string, string> => Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));

describe('a folder under construction', () => {
  it('comes to stand where nothing was', () => {
    const partial = new PartialFolder(dir);
    write(partial, { a: '1', b: '2' });
    expect(existsSync(dir)).toBe(false);
    partial.finish();
    partial.abandon();
    expect([held(dir), around()]).toEqual([{ a: '1', b: '2' }, ['out']]);
  });

  it.each([['an empty folder', {}], ['a folder with files', { a: 'old', c: 'old' }]])('%s stays the same folder, with the new files in it and no others', (_, before) => {
    mkdirSync(dir);
    for (const [name, text] of Object.entries(before)) writeFileSync(join(dir, name), text);
    const { ino } = statSync(dir);
    // As under a mount or a shell that stands in it: the folder itself cannot be moved.
    refused.busy = (path) => path === dir || path.startsWith(`${dir}.`);
    const partial = new PartialFolder(dir);
    write(partial, { a: '1', b: '2' });
    partial.finish();
    expect([held(dir), around(), statSync(dir).ino]).toEqual([{ a: '1', b: '2' }, ['out'], ino]);
  });

  it('given up, it leaves what was there', () => {
    mkdirSync(dir);
    writeFileSync(join(dir, 'a'), 'old');
    const partial = new PartialFolder(dir);
    write(partial, { a: '1' });
    partial.abandon();
    expect(held(dir)).toEqual({ a: 'old' });
  });

  it('that cannot be put in place is kept, its place is as it was, and the message says where', () => {
    mkdirSync(dir);
    for (const name of ['a', 'b']) writeFileSync(join(dir, name), 'old');
    const partial = new PartialFolder(dir);
    write(partial, { a: '1', z: '2' });
    refused.busy = (path) => path === join(dir, 'z');
    expect(() => partial.finish()).toThrow(expect.objectContaining({ code: 'unwritable', message: expect.stringMatching(/EBUSY.*complete in .*partial/) }));
    partial.abandon();
    expect(held(partial.path)).toEqual({ a: '1', z: '2' });
    rmSync(partial.path, { recursive: true });
    expect(held(dir)).toEqual({ a: 'old', b: 'old' });
    // The next one does not take its place.
    const [first, second] = [new PartialFolder(dir), new PartialFolder(dir)];
    expect(first.path).not.toBe(second.path);
  });

  it('that cannot be renamed is kept beside its place', () => {
    const partial = new PartialFolder(dir);
    write(partial, { a: '1' });
    refused.busy = (path) => path === dir;
    expect(() => partial.finish()).toThrow(partial.path);
    partial.abandon();
    expect(held(partial.path)).toEqual({ a: '1' });
  });

  it('is complete where only the former files cannot be removed', () => {
    mkdirSync(dir);
    writeFileSync(join(dir, 'a'), 'old');
    const partial = new PartialFolder(dir);
    write(partial, { a: '1' });
    refused.busy = (path) => /\.old-\d+$/.test(path);
    expect(() => partial.finish()).toThrow(/is complete, but .* delete .*\.old-/);
    expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('1');
  });

  it('is refused where a file is in the way', () => {
    writeFileSync(dir, 'a file');
    expect([folderObstacle(dir), folderObstacle(join(dir, 'a', 'b'))]).toEqual(['is a file', `lies in ${dir}, which is a file`]);
    expect(folderObstacle(join(root, 'none', 'at', 'all'))).toBeUndefined();
    for (const path of [dir, join(dir, 'a')]) expect(() => new PartialFolder(path)).toThrow(expect.objectContaining({ code: 'invalidArgument' }));
  });
});
