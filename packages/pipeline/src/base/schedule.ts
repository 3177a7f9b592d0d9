/** Linear warm-up, then constant, then linear to a twentieth over the last two fifths. */
export function scheduled(peak: number, step: number, steps: number, warmup: number): number {
  const decayFrom = Math.floor(steps * 0.6);
  if (step <= warmup) return (peak * step) / warmup;
  if (step <= decayFrom) return peak;
  return peak * (1 - 0.95 * ((step - decayFrom) / Math.max(1, steps - decayFrom)));
}
