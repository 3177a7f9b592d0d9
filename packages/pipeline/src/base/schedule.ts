/** Linear warm-up, then constant, then linear to the share `last` (a twentieth) over the last `decay` steps (two fifths), unless those are given. */
export function scheduled(peak: number, step: number, steps: number, warmup: number, decay = steps - Math.floor(steps * 0.6), last = 0.05): number {
  const decayFrom = steps - decay;
  if (step <= warmup) return (peak * step) / warmup;
  if (step <= decayFrom) return peak;
  return peak * (1 - (1 - last) * ((step - decayFrom) / Math.max(1, decay)));
}
