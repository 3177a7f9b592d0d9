/** 0, 1, …, count − 1. */
export function everyRow(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => i);
}
