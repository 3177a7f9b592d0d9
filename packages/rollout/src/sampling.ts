/** How the driver samples for an objective: plain data, so that it can be stored with a run. */
export interface SamplingPlan {
  /** Rollouts a prompt (of each origin, with twins). */
  readonly numGenerations: number;
  /** PolicyRollout: sample as many again with the policy in the prompt. */
  readonly twins?: boolean | undefined;
  /** Take truncated answers out of the loss (TRL `mask_truncated_completions`). */
  readonly maskTruncatedCompletions?: boolean | undefined;
  /** Dynamic sampling: replace groups that teach nothing. */
  readonly dynamicSampling?: DynamicSampling | undefined;
}

/** Which groups are replaced, and how often. */
export interface DynamicSampling {
  /** Rounds of replacement after the first. */
  readonly maxRetries: number;
  /** Keep groups whose mean reward lies strictly between both (EasyR1, OpenRLHF); default, groups whose rewards differ, and those of one rollout (verl). */
  readonly keepMean?: readonly [low: number, high: number] | undefined;
  /** The named reward to look at; default, and where no reward has that name, the weighted sum. */
  readonly key?: string | undefined;
}
