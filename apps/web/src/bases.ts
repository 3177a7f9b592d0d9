/** @file The bases that lie beside the page, and what each knows. */
import type { RunConfig } from '@trimpi/pipeline';

export type BaseName = 'tiny' | 'small';
type Asked = Pick<RunConfig, 'n' | 'variant' | 'benchmark'>;

interface Base {
  readonly title: string;
  /** Beside the page. */
  readonly folder: string;
  /** The deepest trees whose words it knows. */
  readonly depth: number;
  readonly pictures: boolean;
  /** Whether it knows the words of GTAPolicy. */
  readonly tools: boolean;
}

export const BASES: Readonly<Record<BaseName, Base>> = {
  tiny: { title: 'Tiny: depth 1 to 3, in words', folder: 'base/', depth: 3, pictures: false, tools: false },
  small: { title: 'Small: depth 1 to 6, words and pictures, GTAPolicy; for a GPU', folder: 'base-small/', depth: 6, pictures: true, tools: true },
};

/** Why a run cannot begin with this base; undefined when it can. */
export function obstacle(name: BaseName, { n, variant = 't', benchmark }: Asked): string | undefined {
  const { depth, pictures, tools } = BASES[name];
  if (benchmark === 'gta') return tools ? undefined : `The ${name} base lacks the words of GTAPolicy: its tools, versions, and what it asks about a user.`;
  if (n > depth) return `The ${name} base knows trees of depth 1 to ${depth}, and this one has ${n}.`;
  return variant === 'm' && !pictures ? `The ${name} base knows values in words alone, and here some are shown by pictures.` : undefined;
}

/** The base that was wanted where a run can begin with it, or else the one that can. */
export function baseFor(config: Asked, wanted: BaseName = 'tiny'): BaseName {
  return obstacle(wanted, config) === undefined ? wanted : 'small';
}

export function baseUrl(name: BaseName): string {
  return new URL(BASES[name].folder, document.baseURI).href;
}
