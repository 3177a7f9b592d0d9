import { describe, expect, it } from 'vitest';
import { findBreaches, findCircles, importsOf } from './imports.mjs';

const breaches = (files, declared = { 'packages/model': ['@trimpi/runtime'], 'packages/trainers': ['@trimpi/model'], 'apps/cli': ['@trimpi/pipeline'] }) =>
  findBreaches(new Map(Object.entries(files)), new Map(Object.entries(declared)));

describe('importsOf', () => {
  it('finds every kind of import, and none in comments', () => {
    const source = `
import a from './a.ts';
import type { B } from './b.ts';
import { type C, d } from "./c.ts";
import './e.ts';
import {
  f,
} from './f.ts';
export * from './g.ts';
export type { H } from './h.ts';
// import no from './no.ts';
/* import no from './no.ts'; */
const i = await import('./i.ts');
const url = 'https://x/from';
export const j = 5; const text = "import k";
`;
    expect(importsOf(source)).toEqual([
      { specifier: './a.ts', erased: false },
      { specifier: './b.ts', erased: true },
      { specifier: './c.ts', erased: false },
      { specifier: './e.ts', erased: false },
      { specifier: './f.ts', erased: false },
      { specifier: './g.ts', erased: false },
      { specifier: './h.ts', erased: true },
      { specifier: './i.ts', erased: false },
    ]);
  });
});

describe('findBreaches', () => {
  it('lets pass what runs downwards', () => {
    expect(breaches({ 'packages/model/src/a.ts': "import { x } from '@trimpi/runtime';\nimport './b.ts';", 'packages/model/src/b.ts': '', 'apps/cli/src/m.ts': "import '@trimpi/pipeline';" })).toEqual([]);
  });

  it.each([
    ['upwards', { 'packages/model/src/a.ts': "import type { T } from '@trimpi/trainers';" }, /model must not import trainers/],
    ['sideways', { 'packages/rollout/src/a.ts': "import '@trimpi/datasets/node';" }, /rollout must not import datasets/],
    ['by own name', { 'packages/model/src/a.ts': "import '@trimpi/model';" }, /its own package/],
    ['undeclared', { 'packages/trainers/src/a.ts': "import '@trimpi/rollout';" }, /does not declare/],
    ['unknown', { 'apps/cli/src/a.ts': "import '@trimpi/nothing';" }, /is no package/],
    ['out of the package', { 'packages/model/src/a.ts': "import '../../runtime/src/index.ts';" }, /reaches out/],
    ['a circle', { 'packages/model/src/a.ts': "import './b.ts';", 'packages/model/src/b.ts': "export { x } from './a.ts';" }, /circle: .*a\.ts -> .*b\.ts -> .*a\.ts/],
    ['itself', { 'packages/model/src/a.ts': "import './a.ts';" }, /circle: .*a\.ts -> .*a\.ts/],
  ])('refuses %s', (_name, files, message) => {
    const found = breaches(files);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  it('type imports make no circle: nothing is left of them', () => {
    expect(breaches({ 'packages/model/src/a.ts': "import type { B } from './b.ts';", 'packages/model/src/b.ts': "import { a } from './a.ts';" })).toEqual([]);
  });
});

describe('findCircles', () => {
  it('names one shortest circle of every knot', () => {
    const edges = new Map(Object.entries({ a: ['b', 'c'], b: ['c'], c: ['a'], d: ['a', 'e'], e: [], f: ['g'], g: ['f'] }));
    expect(findCircles(edges).map((circle) => circle.toSorted().join(''))).toEqual(['ac', 'fg']);
  });
});
