/** Linear warm-up, then constant, then linear to a twentieth over the last `decay` steps (two fifths unless given). */
export function scheduled(peak: number, step: number, steps: number, warmup: number, decay = steps - Math.floor(steps * 0.6)): number {
  const decayFrom = steps - decay;
  if (step <= warmup) return (peak * step) / warmup;
  if (step <= decayFrom) return peak;
  return peak * (1 - 0.95 * ((step - decayFrom) / Math.max(1, decay)));
}
