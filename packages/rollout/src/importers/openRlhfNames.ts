/** Options of OpenRLHF's train_ppo_ray and PolicyLoss that decide the arithmetic. */
export const OPEN_RLHF_OPTIONS: readonly string[] = [
  'eps_clip', 'eps_clip_low_high', 'clip_eps_low', 'clip_eps_high', 'dual_clip', 'token_level_loss', 'policy_loss_type', 'enable_vllm_is_correction',
  'vllm_is_truncated_threshold', 'vllm_is_correction_type', 'advantage_estimator', 'use_kl_loss', 'init_kl_coef', 'kl_estimator', 'entropy_loss_coef', 'gamma',
  'n_samples_per_prompt', 'dynamic_filtering', 'dynamic_filtering_reward_range', 'no_advantage_std_norm', 'reward_clip_range', 'overlong_buffer_len',
  'stop_properly_penalty_coef',
];

/** Options of the same command that say how to run, not what to compute. */
export const OPEN_RLHF_IGNORED: readonly string[] = [
  'lambd', 'kl_target', 'kl_horizon', 'overlong_penalty_factor', 'train_batch_size', 'micro_train_batch_size', 'rollout_batch_size', 'micro_rollout_batch_size', 'max_epochs', 'num_episodes',
  'prompt_max_len', 'generate_max_len', 'max_new_tokens', 'temperature', 'top_p', 'top_k', 'actor_learning_rate', 'critic_learning_rate', 'max_norm', 'pretrain',
  'reward_pretrain', 'remote_rm_url', 'save_path', 'ckpt_path', 'prompt_data', 'input_key', 'label_key', 'seed', 'zero_stage', 'bf16', 'param_dtype',
  'gradient_checkpointing', 'packing_samples', 'ema_beta', 'aux_loss_coef', 'vllm_num_engines', 'vllm_tensor_parallel_size',
];
