/** @file Settings of a run on a policy of the visitor's own, from those of Train. */
import { INTERNALISE_CONFIG, type InternaliseConfig, resolveInternaliseConfig, type RunConfig } from '@trimpi/pipeline';
import type { OwnModel } from '../protocol.ts';

export function fromForm(config: RunConfig, on: OwnModel): InternaliseConfig {
  return on.type === 'base' ? forBase(config) : forCheckpoint(config, on);
}

/** All parameters of the tiny base, as a run of Train does. */
function forBase({ seed, vmCpt, sft: { r, loraAlpha, ...sft }, rl }: RunConfig): InternaliseConfig {
  return resolveInternaliseConfig({ seed, tune: 'full', system: '', vmCpt, sft, lora: { r, loraAlpha, targetModules: '' }, rl });
}

/** An adapter on the frozen checkpoint: the settings but for the rates, which are those for an adapter. */
function forCheckpoint({ seed, vmCpt, sft: { r, loraAlpha, ...sft }, rl }: RunConfig, { bits, maxNewTokens }: Extract<OwnModel, { type: 'checkpoint' }>): InternaliseConfig {
  const rate = (stage: 'vmCpt' | 'sft' | 'rl') => ({ learningRate: INTERNALISE_CONFIG[stage].learningRate });
  return resolveInternaliseConfig({
    seed, bits, lora: { r, loraAlpha, targetModules: '' },
    vmCpt: { ...vmCpt, ...rate('vmCpt') },
    sft: { ...sft, ...rate('sft') },
    rl: { ...rl, ...rate('rl'), maxNewTokens },
  });
}
