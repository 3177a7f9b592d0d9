import { DatasetError } from '../../core/error.ts';
import { holds, type Facts, type GtaRules, type UserProfile } from './types.ts';

/** The name to call and the rule that says so (no rule for tools of one version). */
export interface Resolution {
  readonly name: string;
  readonly bullet: string | undefined;
  readonly choice: number;
}

/** The facts that rules read: the profile, and whether the image at hand holds mathematics. */
export function factsOf(profile: UserProfile, hasMath: boolean): Facts {
  return { ...profile, hasMath: hasMath ? 'yes' : 'no' };
}

/** Which version of a tool type the policy wants. */
export function resolveTool(rules: GtaRules, tool: string, facts: Facts): Resolution {
  const own = rules.bullets.filter((bullet) => bullet.tool === tool);
  if (own.length === 0) return { name: tool, bullet: undefined, choice: 0 };
  for (const bullet of own) {
    if (!holds(bullet.when, facts)) continue;
    const choice = bullet.choices.findIndex((c) => holds(c.when, facts));
    const chosen = bullet.choices[choice];
    if (chosen) return { name: chosen.name, bullet: bullet.id, choice };
  }
  throw new DatasetError('invalidArgument', `no rule of policy ${rules.id} decides ${tool} for ${JSON.stringify(facts)}; prove the rules with proveRules.`);
}
