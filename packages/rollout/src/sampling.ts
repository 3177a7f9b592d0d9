/** How the driver samples for an objective: plain data, so that it can be stored with a run. */
export interface SamplingPlan {
  /** Rollouts a prompt (of each origin, with twins). */
  readonly numGenerations: number;
  /** PolicyRollout: sample as many again with the policy in the prompt. */
  readonly twins?: boolean | undefined;
  /** DAPO's dynamic sampling: replace groups whose rewards are all equal, at most this many times. */
  readonly dynamicSampling?: { readonly maxRetries: number } | undefined;
}
