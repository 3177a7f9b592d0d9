import type { Device } from '@trimpi/runtime';

/** What the page and the report call the GPU. */
export function nameOf({ adapter }: Device): string {
  return [adapter.vendor, adapter.description || adapter.architecture].filter((s) => s !== '').join(' ') || 'a GPU that keeps its name to itself';
}
