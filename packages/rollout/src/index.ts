/**
 * @file Policy-optimisation arithmetic: objectives made of parts, with values, gradients and metrics. No dependency, no
 * platform: everything here is a pure function of arrays.
 */

// Objectives
export { type Objective, type ObjectiveParts, objective } from './objective.ts';
export type { Channel, LossInput, LossResult, TokenArray } from './batch/input.ts';
export type { TokenView } from './batch/view.ts';
export type { AdvantageContext, AdvantageInput, GroupId, RewardColumn, Rewards, RewardWeights } from './advantages/input.ts';
export type { AdvantagePart } from './advantages/part.ts';
export type { DynamicSampling, SamplingPlan } from './sampling.ts';
export type { Need } from './needs.ts';
export type { Origin, OriginLike } from './origin.ts';
export { RolloutError, type RolloutErrorCode } from './error.ts';

// Presets
export { type GrpoOptions, grpo } from './presets/grpo.ts';
export { type DrGrpoOptions, drGrpo } from './presets/drGrpo.ts';
export { type DapoOptions, dapo } from './presets/dapo.ts';
export { type RlooOptions, rloo } from './presets/rloo.ts';
export { type ReinforcePlusPlusOptions, reinforcePlusPlus } from './presets/reinforcePlusPlus.ts';
export { type GspoOptions, gspo } from './presets/gspo.ts';
export { type CispoPresetOptions, cispo } from './presets/cispo.ts';
export { type PoroPresetOptions, poroDapo, poroGrpo } from './presets/poro.ts';
export { type PolicyRolloutOptions, poro } from './poro/poro.ts';

// Advantages
export { type GroupNormOptions, groupNorm } from './advantages/groupNorm.ts';
export { type LeaveOneOutOptions, leaveOneOut } from './advantages/leaveOneOut.ts';
export { type ReinforcePlusPlusAdvantageOptions, reinforcePlusPlusAdvantage } from './advantages/reinforcePlusPlus.ts';
export { remaxAdvantage } from './advantages/remax.ts';
export { optimalLengthBaseline } from './advantages/optimalLengthBaseline.ts';
export { groupPolicyGradient } from './advantages/gpg.ts';
export { type PassAtKOptions, passAtK } from './advantages/passAtK.ts';
export { type DiscountOptions, type TokenAdvantageInput, type TokenBaselineInput, optimalTokenBaseline, reinforcePlusPlusTokens } from './advantages/perToken.ts';
export { type GdpoOptions, gdpo } from './advantages/gdpo.ts';

// Surrogates
export type { RowScratch, Surrogate } from './surrogates/surrogate.ts';
export { type ClipOptions, clip } from './surrogates/clip.ts';
export { type CispoOptions, cispoSurrogate } from './surrogates/cispo.ts';
export { type SoftGateOptions, softGate } from './surrogates/softGate.ts';
export { reinforce } from './surrogates/reinforce.ts';
export { dro } from './surrogates/dro.ts';
export { type DppoOptions, dppo } from './surrogates/dppo.ts';
export { type GmpoOptions, gmpo } from './surrogates/gmpo.ts';
export { type VespoOptions, vespo } from './surrogates/vespo.ts';
export { type KlCovOptions, klCov } from './surrogates/klCov.ts';
export { shapedRatio } from './poro/shaped.ts';

// Selectors and importance weights
export type { Modifier } from './weights/modifier.ts';
export { entropyMask } from './selectors/entropyMask.ts';
export { offPolicySequenceMask } from './selectors/offPolicySequenceMask.ts';
export { type ImportanceOptions, importanceWeights } from './weights/importance.ts';
export { geometricMeanWeights } from './weights/geometricMean.ts';

// Regularisers
export type { Regulariser } from './regularisers/regulariser.ts';
export type { SequenceRegulariser } from './regularisers/sequenceRegulariser.ts';
export { type KlEstimator, type KlOptions, biasCorrectedKl, klEstimate, klPenalty } from './regularisers/kl.ts';
export { type EntropyBonus, entropyBonus } from './regularisers/entropyBonus.ts';

// Aggregation
export { type Aggregation, constantLength, sequenceMean, tokenMean, tokenSum } from './aggregation.ts';

// Metrics
export type { MetricSource, MetricStyle } from './metrics/style.ts';
export { trlMetrics } from './metrics/trl.ts';
export { effectiveSampleSize, policyGap } from './poro/gap.ts';
export { verlMetrics } from './metrics/verl.ts';
export { easyR1Metrics } from './metrics/easyR1.ts';
export { openRlhfMetrics } from './metrics/openRlhf.ts';
export { offPolicyMetrics } from './metrics/offPolicy.ts';
export { samplerWeightMetrics } from './metrics/samplerWeights.ts';
export { type RejectionOption, type RejectionRule, rejectionMask } from './selectors/rejection.ts';

// Importers
export { fromTrl } from './importers/trl.ts';
export { fromVerl } from './importers/verl.ts';
export { fromEasyR1 } from './importers/easyR1.ts';
export { fromOpenRlhf } from './importers/openRlhf.ts';

// Rewards and state
export { type OverlongOptions, overlongPenalty } from './rewards/overlong.ts';
export { type AdaptiveKlState, updateAdaptiveKl } from './regularisers/adaptiveKl.ts';
export { type AdaptiveEntropyState, updateAdaptiveEntropy } from './regularisers/adaptiveEntropy.ts';
export { type TeacherReweightInput, teacherReweight } from './advantages/teacherReweight.ts';
export { otcGroupRewards, otcReward } from './rewards/otc.ts';
export { type ToolCall, toolRlReward } from './rewards/toolRl.ts';
export { klInReward } from './rewards/klInReward.ts';
export { rolloutMetrics } from './poro/diagnostics.ts';
export { essLearningRateScale } from './updateControl.ts';

// More surrogates, regularisers, advantages and selections
export { type DispoOptions, dispo } from './surrogates/dispo.ts';
export { type BapoOptions, bapo } from './surrogates/bapo.ts';
export { mdpo } from './surrogates/mdpo.ts';
export { type LldsOptions, llds } from './regularisers/llds.ts';
export { type AspoInput, type HdpoInput, type ToolPoInput, type XrpoInput, aspoAdvantages, hdpoChannels, toolPoAdvantages, xrpoAdvantages } from './advantages/toolChannels.ts';
export { type RiskPoOptions, type RiskPoState, riskPoAdvantages } from './advantages/riskPo.ts';
export { type HgpoOptions, type HgpoStep, hgpoAdvantages } from './advantages/hgpo.ts';
export { maxVarianceSubset, topTokens } from './selectors/d3s.ts';

// Driver
export { runStep } from './driver/step.ts';
export type { Completion, DriverPrompt, GenerateRequest, Rollout, Score, ScoredLogps, StepOptions, StepReason, StepResult, TrainingBatch } from './driver/types.ts';
