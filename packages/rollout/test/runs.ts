/**
 * Runs of each property: at least 1,000, and a few, always the same ones, where the tests are run anew for every
 * mutant (`test/mutation/build.mjs`).
 */
const few = process.env['TRIMPI_FEW_RUNS'];
export const RUNS = few === undefined ? { numRuns: 1000 } : { numRuns: Number(few), seed: 1, endOnFailure: true };
