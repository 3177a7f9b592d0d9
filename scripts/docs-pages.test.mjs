import { describe, expect, it } from 'vitest';
import { anchorsOf, forSite, linkProblems, linksOf, resolveTarget, sitePath, slug } from './docs-pages.mjs';

describe('links of a page', () => {
  it('are found outside of code, with their lines', () => {
    expect(linksOf('[a](b.md)\n```ts\n[c](d.md)\n```\n![e [x]](f.png "t") and [`g`](h.ts#i)')).toEqual([
      { text: 'a', target: 'b.md', line: 1 },
      { text: 'e [x]', target: 'f.png', line: 5 },
      { text: '`g`', target: 'h.ts#i', line: 5 },
    ]);
  });

  it('are complained about when there is nothing behind them', () => {
    const problems = linkProblems('docs/x.md', '# Here\n[1](no.md)\n[2](#here)\n[3](#there)\n[4](../README.md#no-such)\n[5](../README.md)\n[`slug`](../scripts/docs-pages.mjs)\n[`slag`](../scripts/docs-pages.mjs)\n[6](https://example.org)\n[7](../../outside)');
    expect(problems.map((p) => p.replace(/^docs\/x\.md:/, ''))).toEqual([
      '2: no.md: there is no such file.',
      '4: #there: there is no such heading.',
      '5: ../README.md#no-such: there is no such heading.',
      '8: ../scripts/docs-pages.mjs: the file has no slag.',
      '10: ../../outside: there is no such file.',
    ]);
  });

  it('lead from the page they stand on', () => {
    expect(resolveTarget('docs/a/b.md', '../c.md#d')).toEqual({ file: 'docs/c.md', anchor: 'd' });
    expect(resolveTarget('docs/a.md', 'mailto:x@example.org')).toBeUndefined();
  });
});

// As GitHub makes them.
it.each([
  ['Equation 2: VM-CPT', 'equation-2-vm-cpt'],
  ['`trimpi serve`', 'trimpi-serve'],
  ['What is in it?', 'what-is-in-it'],
  ['A [link](x.md) & more', 'a-link--more'],
])('%s has the anchor %s', (heading, anchor) => {
  expect(slug(heading)).toBe(anchor);
});

it('headings that come again are numbered', () => {
  expect([...anchorsOf('# A\n## B\n## B\n```\n# C\n```')]).toEqual(['a', 'b', 'b-1']);
});

it('files have their place on the site', () => {
  expect(['docs/adding/kernel.md', 'packages/model/README.md', 'README.md', 'LICENSE', 'packages/runtime/src/ops', 'docs/images/report.png'].map(sitePath)).toEqual(['adding/kernel.md', 'packages/model.md', 'readme.md', 'source/LICENSE.md', 'source/packages/runtime/src/ops/index.md', 'images/report.png']);
});

it('links of a page lead to where the files land on the site', () => {
  const used = new Set();
  const page = 'See [the method](method.md#equation-1-the-task), [`launch`](../packages/runtime/src/webgpu/launch.ts), ![a](images/report.png), [web](https://example.org) and `[no](link.md)`.\n```\n[no](method.md)\n```';
  expect(forSite('docs/kernels.md', page, used)).toBe('See [the method](./method.md#equation-1-the-task), [`launch`](./source/packages/runtime/src/webgpu/launch.ts.md), ![a](./images/report.png), [web](https://example.org) and `[no](link.md)`.\n```\n[no](method.md)\n```');
  expect([...used]).toEqual(['docs/method.md', 'packages/runtime/src/webgpu/launch.ts', 'docs/images/report.png']);
  expect(forSite('packages/model/README.md', '[a](../../docs/adding/model.md)', used)).toBe('[a](../adding/model.md)');
});
