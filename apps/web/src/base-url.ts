import type { RunConfig } from '@trimpi/pipeline';

/** The tiny base reads trees of up to three levels in words. */
const TINY_DEPTH = 3;

/** Whether a run needs the small base, which is twice as large and meant for a GPU. */
export function needsSmallBase({ n, variant = 't' }: Pick<RunConfig, 'n' | 'variant'>): boolean {
  return n > TINY_DEPTH || variant === 'm';
}

/** Address of the files of the base that a run begins with; both lie beside the page. */
export function baseUrl(config: Pick<RunConfig, 'n' | 'variant'>): string {
  return new URL(needsSmallBase(config) ? 'base-small/' : 'base/', document.baseURI).href;
}
