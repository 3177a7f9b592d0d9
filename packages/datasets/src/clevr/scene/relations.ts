import type { Relation, Scene, Vector3 } from './types.ts';

/** Ground directions of CLEVR's camera without jitter: the same in every scene file. */
export const DIRECTIONS: Scene['directions'] = {
  right: [0.6563112735748291, 0.7544902563095093, 0],
  left: [-0.6563112735748291, -0.7544902563095093, 0],
  behind: [-0.754490315914154, 0.6563112735748291, 0],
  front: [0.754490315914154, -0.6563112735748291, 0],
  above: [0, 0, 1],
  below: [0, 0, -1],
};

const EPSILON = 0.2;

/** CLEVR's relations: j is `r` of i when (p_j - p_i) . direction_r exceeds 0.2. */
export function computeRelationships(
  positions: readonly Vector3[],
  directions: Scene['directions'] = DIRECTIONS,
): Record<Relation, number[][]> {
  const relate = (relation: Relation): number[][] => {
    const d = directions[relation];
    return positions.map((p, i) => {
      const out: number[] = [];
      positions.forEach((q, j) => {
        const dot = (q[0] - p[0]) * d[0] + (q[1] - p[1]) * d[1] + (q[2] - p[2]) * d[2];
        if (j !== i && dot > EPSILON) out.push(j);
      });
      return out;
    });
  };
  return { left: relate('left'), right: relate('right'), front: relate('front'), behind: relate('behind') };
}
