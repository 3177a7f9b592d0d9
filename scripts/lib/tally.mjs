/** @file Counts checks. Pure. */

/** A tally of checks that passed, failed or were skipped, with the names of those that failed. */
export function newTally() {
  return { passed: 0, failed: 0, skipped: 0, failures: [] };
}

/** Counts one check. */
export function count(tally, name, ok) {
  if (ok) tally.passed++;
  else {
    tally.failed++;
    tally.failures.push(name);
  }
}

/**
 * Counts what vitest's JSON report says. A file that could not be loaded counts as one failure, and so does a run that
 * failed without saying why (an error outside of any test), or that left no report.
 * @param {unknown} report parsed report, or undefined
 * @param {number} code exit code of vitest
 */
export function countVitest(tally, name, report, code) {
  if (typeof report !== 'object' || report === null || typeof report.numTotalTests !== 'number') {
    count(tally, `${name}: no report (exit code ${code})`, false);
    return;
  }
  const before = tally.failed;
  for (const file of report.testResults ?? []) {
    const tests = file.assertionResults ?? [];
    if (file.status === 'failed' && !tests.some((test) => test.status === 'failed')) count(tally, `${name}: ${file.name}: ${firstLine(file.message)}`, false);
    for (const test of tests) {
      if (test.status === 'passed') tally.passed++;
      else if (test.status === 'failed') count(tally, `${name}: ${file.name}: ${test.fullName}`, false);
      else tally.skipped++;
    }
  }
  if (code !== 0 && tally.failed === before) count(tally, `${name}: an error outside of the tests (exit code ${code})`, false);
  if (report.numTotalTests === 0) count(tally, `${name}: no test ran`, false);
}

function firstLine(text) {
  return (text ?? '').trim().split('\n')[0] ?? '';
}

/** The end of a test run: how many were skipped, if any, and, always as the last line, `N passed, N failed`. */
export function summary(tally) {
  return [...(tally.skipped > 0 ? [`${tally.skipped} skipped`] : []), `${tally.passed} passed, ${tally.failed} failed`];
}

/** A run is good when something passed and nothing failed. */
export function exitCode(tally) {
  return tally.failed === 0 && tally.passed > 0 ? 0 : 1;
}
