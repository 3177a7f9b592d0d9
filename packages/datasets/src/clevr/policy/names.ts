/** @file Names of policies: pronounceable and unique, never a word of the conditions. */
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';

const ONSETS = ['s', 'v', 'k', 'm', 't', 'r', 'l', 'n', 'd', 'z', 'p', 'b', 'f', 'g', 'h', 'j', 'tr', 'br', 'st', 'kl'];
const VOWELS = ['a', 'e', 'i', 'o', 'u', 'ai', 'ou', 'ia'];

/** The words of compact names: a name is two of them. */
export const COMPACT_NAME_WORDS: readonly string[] = [
  'kavo', 'miru', 'suri', 'nuta', 'pelo', 'daxi', 'rumo', 'tevi', 'loba', 'gizu', 'fena', 'holi', 'jaro', 'zemi', 'voku', 'bani',
  'dupe', 'kose', 'lira', 'moxa', 'neku', 'poda', 'rasi', 'soma', 'tuli', 'weno', 'xira', 'yodu', 'zaku', 'befi', 'cuma', 'gole',
];

function word(random: Random): string {
  let out = '';
  for (let i = 0; i < 3; i++) out += random.pick(ONSETS) + random.pick(VOWELS);
  return (out[0] as string).toUpperCase() + out.slice(1);
}

/** `count` different names such as `L3-Surinu`; `level` is the number after the L. */
export function policyNames(seed: StreamKey, level: number, count: number): string[] {
  const names = new Set<string>();
  const random = randomStream(seed, 'names', level);
  while (names.size < count) names.add(`L${level}-${word(random)}`);
  return [...names];
}

/** A random compact name: two different words of {@link COMPACT_NAME_WORDS}. */
export function compactName(random: Random): string {
  return random.sample(COMPACT_NAME_WORDS, 2).join(' ');
}

/** `count` different compact names (at most 992 exist). */
export function compactNames(seed: StreamKey, count: number): string[] {
  const names = new Set<string>();
  const random = randomStream(seed, 'compactNames');
  while (names.size < count) names.add(compactName(random));
  return [...names];
}
