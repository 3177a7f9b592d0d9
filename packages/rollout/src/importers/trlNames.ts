/** Options of TRL's GRPOConfig and RLOOConfig that decide the arithmetic. */
export const TRL_OPTIONS: readonly string[] = [
  'epsilon', 'epsilon_low', 'epsilon_high', 'delta', 'beta', 'loss_type', 'importance_sampling_level', 'scale_rewards',
  'multi_objective_aggregation', 'reward_weights', 'num_generations', 'max_completion_length', 'sapo_temperature_pos',
  'sapo_temperature_neg', 'vespo_k_pos', 'vespo_lambda_pos', 'vespo_k_neg', 'vespo_lambda_neg',
  'use_bias_correction_kl', 'off_policy_mask_threshold', 'top_entropy_quantile', 'entropy_coef',
  'use_adaptive_entropy', 'use_vllm', 'vllm_importance_sampling_correction', 'vllm_importance_sampling_mode',
  'vllm_importance_sampling_clip_max', 'vllm_importance_sampling_clip_min', 'vllm_importance_sampling_cap',
  'normalize_advantages', 'reward_clip_range',
];

/** Options of the same configurations (and of TrainingArguments) that say how to run, not what to compute. */
export const TRL_IGNORED: readonly string[] = [
  'adam_beta1', 'adam_beta2', 'adam_epsilon', 'bf16', 'cache_implementation', 'cast_lm_head_to_fp32',
  'chat_template_kwargs', 'data_seed', 'dataloader_num_workers', 'ddp_timeout', 'deepspeed', 'disable_dropout',
  'ds3_gather_for_generation', 'entropy_coef_delta', 'entropy_coef_max', 'entropy_coef_min', 'entropy_target',
  'eval_steps', 'eval_strategy', 'fp16', 'fsdp', 'generation_batch_size', 'generation_kwargs',
  'gradient_accumulation_steps', 'gradient_checkpointing', 'gradient_checkpointing_kwargs', 'hub_model_id',
  'learning_rate', 'log_completions', 'log_completions_hub_repo', 'log_level', 'log_multimodal', 'log_unique_prompts',
  'logging_first_step', 'logging_steps', 'lr_scheduler_type', 'mask_truncated_completions', 'max_grad_norm',
  'max_prompt_length', 'max_steps', 'max_tool_calling_iterations', 'min_p', 'model_init_kwargs',
  'num_completions_to_print', 'num_generations_eval', 'num_iterations', 'num_train_epochs', 'optim', 'output_dir',
  'pad_to_multiple_of', 'per_device_eval_batch_size', 'per_device_train_batch_size', 'push_to_hub',
  'ref_model_mixup_alpha', 'ref_model_sync_steps', 'remove_unused_columns', 'repetition_penalty', 'report_to',
  'router_aux_loss_coef', 'run_name', 'save_steps', 'save_strategy', 'save_total_limit', 'seed', 'shuffle_dataset',
  'steps_per_generation', 'sync_ref_model', 'temperature', 'tf32', 'top_k', 'top_p', 'torch_compile',
  'transformers_continuous_batching_config', 'trust_remote_code', 'use_liger_kernel',
  'use_transformers_continuous_batching', 'use_transformers_paged', 'vllm_enable_sleep_mode',
  'vllm_gpu_memory_utilization', 'vllm_group_port', 'vllm_max_model_length', 'vllm_mode', 'vllm_model_impl',
  'vllm_server_base_url', 'vllm_server_host', 'vllm_server_port', 'vllm_server_timeout',
  'vllm_structured_outputs_regex', 'vllm_tensor_parallel_size', 'warmup_ratio', 'warmup_steps', 'weight_decay',
];
