/** Options of EasyR1's actor and algorithm sections that decide the arithmetic. */
export const EASY_R1_OPTIONS: readonly string[] = [
  'clip_ratio_low', 'clip_ratio_high', 'clip_ratio_dual', 'loss_avg_mode', 'loss_type', 'tau_positive', 'tau_negative', 'adv_estimator', 'gamma', 'disable_kl',
  'use_kl_loss', 'kl_penalty', 'kl_coef', 'n', 'online_filtering', 'max_try_make_batch', 'filter_key', 'filter_low', 'filter_high',
];

/** Sections of EasyR1's YAML that may stand around them. */
export const EASY_R1_SECTIONS: readonly string[] = ['worker', 'actor', 'algorithm', 'rollout', 'ref', 'trainer', 'data'];

/** Options of the same sections that say how to run, not what to compute. */
export const EASY_R1_IGNORED: readonly string[] = [
  'strategy', 'global_batch_size', 'micro_batch_size_per_device_for_update', 'micro_batch_size_per_device_for_experience', 'max_grad_norm', 'ppo_epochs',
  'padding_free', 'dynamic_batching', 'ulysses_size', 'use_torch_compile', 'model', 'optim', 'fsdp', 'offload', 'lam', 'kl_type', 'kl_horizon', 'kl_target',
  'temperature', 'top_p', 'top_k', 'max_prompt_length', 'max_response_length', 'rollout_batch_size', 'seed',
  'total_episodes', 'total_epochs', 'max_steps', 'project_name', 'experiment_name', 'limit_images', 'gpu_memory_utilization', 'tensor_parallel_size', 'reward',
];
