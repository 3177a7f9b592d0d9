/** @file An episode: pictures, a query, and every call in the order in which the policy wants them. */
import type { Split } from '../../core/example.ts';
import { randomStream, type StreamKey } from '../../core/random.ts';
import type { Picture } from '../pictures/sketch.ts';
import { factsOf, resolveTool } from '../policy/resolve.ts';
import type { GtaRules, UserProfile } from '../policy/types.ts';
import type { ToolCall } from '../tools.ts';
import { FAMILIES } from './families.ts';
import { Kit, type PlanStep } from './kit.ts';

export interface Episode {
  readonly id: string;
  readonly family: string;
  readonly pictures: readonly Picture[];
  readonly imageNames: readonly string[];
  readonly query: string;
  /** Steps by type of tool; the policy chooses names when a profile is at hand. */
  readonly steps: readonly PlanStep[];
}

/** A step under a policy and a profile. */
export interface ResolvedStep {
  readonly call: ToolCall;
  /** All equally right calls at this point, the first being the one that the history then records. */
  readonly golds: readonly ToolCall[];
  /** Ids of the rules and tips that decide the call. */
  readonly rules: readonly string[];
  readonly step: PlanStep;
}

/** Episode `index` of a split. Families take turns; descriptions of several images come first, as the tips demand. */
export function makeEpisode(seed: StreamKey, split: Split, index: number, family?: string): Episode {
  const chosen = FAMILIES.find((f) => f.name === family) ?? (FAMILIES[index % FAMILIES.length] as (typeof FAMILIES)[number]);
  const random = randomStream(seed, 'episode', split, index);
  const kit = new Kit(random, split, `${String(seed)}/${split}/${index}`);
  const draft = chosen.build(kit);
  const several = draft.pictures.length > 1;
  const descriptions = several ? draft.pictures.map((_, i) => kit.describe(draft.pictures, i, 'there are several images, and this one has not been described yet')) : [];
  return {
    id: `gta-${split}-${index}`,
    family: chosen.name,
    pictures: draft.pictures,
    imageNames: draft.pictures.map((_, i) => kit.image(i)),
    query: draft.query,
    steps: [...descriptions, ...draft.steps],
  };
}

/** The calls of an episode for a user. */
export function resolveEpisode(episode: Episode, rules: GtaRules, profile: UserProfile): ResolvedStep[] {
  const several = episode.pictures.length > 1;
  return episode.steps.map((step, at) => {
    const hasMath = step.picture !== undefined && (episode.pictures[step.picture]?.latex.length ?? 0) > 0;
    const { name, bullet, choice } = resolveTool(rules, step.tool, factsOf(profile, hasMath));
    const describing = several && at < episode.pictures.length;
    const tips = [
      ...(describing ? ['Tip.1'] : []),
      ...(step.tool === 'RegionAttributeDescription' ? ['Tip.2'] : []),
      ...(step.tool === 'GoogleSearch' ? ['Tip.4'] : []),
      ...('image' in step.arguments ? ['Tip.3'] : []),
    ];
    const call: ToolCall = { name, arguments: step.arguments };
    // Any image that is not yet described may come next.
    const others = describing ? episode.steps.slice(at + 1, episode.pictures.length).map((other): ToolCall => ({ name, arguments: other.arguments })) : [];
    const aliases = (step.aliases ?? []).map((args): ToolCall => ({ name, arguments: args }));
    return { call, golds: [call, ...others, ...aliases], rules: [...(bullet === undefined ? [] : [`${bullet}#${choice}`]), ...tips], step };
  });
}
