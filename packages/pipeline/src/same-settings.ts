/** Whether two settings say the same, whatever the order of their names. Both are JSON, in which what is undefined is left out. */
export function sameSettings(a: unknown, b: unknown): boolean {
  return sorted(a) === sorted(b);
}

function sorted(settings: unknown): string {
  return JSON.stringify(settings, (_, value: unknown) => (typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).toSorted(([x], [y]) => (x < y ? -1 : 1))) : value));
}
