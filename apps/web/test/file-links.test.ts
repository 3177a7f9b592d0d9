import { resolveObjectURL } from 'node:buffer';
import { afterEach, expect, it, vi } from 'vitest';
import { FileLinks } from '../src/file-links.ts';
import { size } from '../src/sizes.ts';

afterEach(() => vi.unstubAllGlobals());

it('lets go of files when other files, or none, take their place', () => {
  const addresses: string[] = [];
  vi.stubGlobal('document', { createElement: () => ({ append: () => undefined, setAttribute: (name: string, value: string) => name === 'href' && addresses.push(value) }) });
  const links = new FileLinks();
  const held = () => addresses.map((a) => resolveObjectURL(a) !== undefined);
  links.list([{ name: 'a', blob: new Blob(['a']) }, { name: 'b', blob: new Blob(['b']) }]);
  expect(held()).toEqual([true, true]);
  links.list([{ name: 'c', blob: new Blob(['c']) }]);
  expect(held()).toEqual([false, false, true]);
  links.clear();
  expect(held()).toEqual([false, false, false]);
});

it.each([[1, '1 KiB'], [1500, '2 KiB'], [2 ** 20, '1.0 MiB'], [1.5 * 2 ** 30, '1.50 GiB']])('says %d bytes as %s', (bytes, words) => expect(size(bytes)).toBe(words));
