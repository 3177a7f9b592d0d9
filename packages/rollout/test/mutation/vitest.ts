/** @file What the tests use of vitest, on mocha's `describe` and `it` (see `build.mjs`). */
import { format } from 'node:util';
import { JestAsymmetricMatchers, JestChaiExpect, JestExtend, chai } from '@vitest/expect';

for (const plugin of [JestExtend, JestChaiExpect, JestAsymmetricMatchers]) chai.use(plugin);

export const expect: unknown = chai.expect;

type Register = (name: string, body: () => unknown) => void;
type Each = (cases: readonly unknown[]) => (name: string, body: (...values: unknown[]) => unknown) => void;

/** Mocha takes a body with parameters for one that calls back, hence the wrapping. */
function withEach(name: 'describe' | 'it'): Register & { each: Each } {
  const register: Register = (title, body) => (globalThis as unknown as Record<typeof name, Register>)[name](title, () => body());
  const each: Each = (cases) => (title, body) =>
    cases.forEach((one, n) => {
      const values = Array.isArray(one) ? (one as unknown[]) : [one];
      register(`${format(title, ...values)} #${n}`, () => body(...values));
    });
  return Object.assign(register, { each });
}

export const describe = withEach('describe');
export const it = withEach('it');
