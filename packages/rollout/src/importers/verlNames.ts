/** Options of verl's actor, algorithm and rollout-correction sections that decide the arithmetic. */
export const VERL_OPTIONS: readonly string[] = [
  'clip_ratio', 'clip_ratio_low', 'clip_ratio_high', 'clip_ratio_c', 'loss_agg_mode', 'loss_scale_factor', 'loss_mode', 'kl_cov_ratio', 'ppo_kl_coef',
  'dro_beta', 'tau_pos', 'tau_neg', 'entropy_coeff', 'use_kl_loss', 'kl_loss_coef', 'kl_loss_type', 'adv_estimator', 'norm_adv_by_std_in_grpo', 'gamma',
  'gdpo_reward_weights', 'gdpo_reward_keys', 'rollout_is', 'rollout_is_threshold', 'rollout_is_batch_normalize', 'rollout_rs', 'rollout_rs_threshold', 'bypass_mode', 'loss_type',
  'n', 'enable', 'max_num_gen_batches', 'metric', 'use_kl_in_reward', 'use_pf_ppo', 'loss_remove_token_mean',
];

/** Sections of verl's YAML that may stand around them. */
export const VERL_SECTIONS: readonly string[] = [
  'actor_rollout_ref', 'actor', 'rollout', 'ref', 'algorithm', 'policy_loss', 'rollout_correction', 'filter_groups', 'kl_ctrl',
];

/** Options of the same sections that say how to run, not what to compute. */
export const VERL_IGNORED: readonly string[] = [
  'strategy', 'ppo_mini_batch_size', 'ppo_micro_batch_size', 'ppo_micro_batch_size_per_gpu', 'use_dynamic_bsz', 'ppo_max_token_len_per_gpu', 'grad_clip',
  'ppo_infer_micro_batch_size_per_gpu', 'ppo_infer_max_token_len_per_gpu',
  'clip_cov_ratio', 'clip_cov_lb', 'clip_cov_ub', 'use_torch_compile', 'ppo_epochs', 'shuffle', 'data_loader_seed', 'checkpoint', 'optim', 'use_fused_kernels',
  'profiler', 'engine', 'fsdp_config', 'megatron', 'rollout_n', 'model_config', 'router_replay', 'freeze_vision_tower', 'calculate_entropy',
  'entropy_from_logits_with_chunking', 'entropy_checkpointing', 'ulysses_sequence_parallel_size', 'use_remove_padding', 'use_rollout_log_probs',
  'calculate_sum_pi_squared', 'sum_pi_squared_checkpointing', 'use_prefix_grouper', 'lam', 'kl_penalty', 'type',
  'kl_coef', 'horizon', 'target_kl', 'pf_ppo', 'max_inflight_gen_batches', 'debug_rollout_actor_probs', 'name',
  'mode', 'temperature', 'top_p', 'top_k', 'response_length', 'prompt_length', 'log_prob_micro_batch_size', 'log_prob_micro_batch_size_per_gpu',
  'tensor_model_parallel_size', 'gpu_memory_utilization', 'calculate_log_probs', 'model', 'hybrid_engine',
];
