/** @file The oldest Node that runs this repository. */

export const MINIMUM = [20, 19];

/** What to tell the user about a Node version, or undefined when it will do. */
export function nodeVersionProblem(version) {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  const [needMajor, needMinor] = MINIMUM;
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return undefined;
  return `Node ${version} is too old: TriMPI needs ${needMajor}.${needMinor} or later. Install it from https://nodejs.org and run the command again.`;
}
