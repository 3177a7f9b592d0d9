// Public API
export { DatasetError, type DatasetErrorCode } from './core/error.ts';
export { Random, randomStream, hashKeys, type StreamKey } from './core/random.ts';
export { cropImage, psnr, type Crop, type RgbImage } from './core/image.ts';
export { exampleParts, type Example, type Part, type Split } from './core/example.ts';
export { findBoxes, formatResponse, parseResponse, type ParsedResponse } from './core/answer.ts';

export {
  ATTRIBUTES, ATTRIBUTE_VALUES, COLORS, MATERIALS, OBJECT_TYPES, SHAPES, SIZES, cogentTypes, filterPhrase, filterWords, matches, objectTypeCode,
  type Attribute, type AttributeValue, type Color, type Filter, type Material, type ObjectType, type Shape, type Size,
} from './clevr/attributes.ts';
export { RELATIONS, type Relation, type Scene, type SceneObject, type SceneRig, type Vector3 } from './clevr/scene/types.ts';
export { generateScene, placeScene, resolveSceneConfig, type ResolvedSceneConfig, type SceneConfig } from './clevr/scene/generate.ts';
export { computeRelationships, DIRECTIONS } from './clevr/scene/relations.ts';
export { fitCamera } from './clevr/scene/fitcamera.ts';
export { parseScene, parseScenes, sceneFile } from './clevr/scene/schema.ts';
export { evaluateProgram, INVALID, runProgram, type ProgramNode, type ProgramValue } from './clevr/program/run.ts';
export { filterProgram, labelByProgram } from './clevr/program/label.ts';
export { makeCamera, MEAN_RIG, project, sceneCamera, type Camera } from './clevr/scene/camera.ts';
export { visiblePixels } from './clevr/scene/visibility.ts';
export { renderScene, type RenderedScene, type RenderOptions } from './clevr/render/render.ts';

export { sampleTree, leafPaths, type SampleTreeOptions } from './clevr/policy/tree.ts';
export { evaluateCondition, evaluateTree } from './clevr/policy/evaluate.ts';
export { conditionPhrase } from './clevr/policy/phrases.ts';
export { policyQuery, policyText } from './clevr/policy/text.ts';
export {
  caseAnswer, type Condition, type DecisionNode, type LeafNode, type PathStep, type PolicyTree, type TreeEvaluation, type TreeMode,
  type TreeNode, type TreeSemantics,
} from './clevr/policy/types.ts';
export {
  COMPACT_MAX_DEPTH, compactAnswer, compactPolicyText, compactQuery, compactQuestion, compactReasoning, compactResponse, compactVocabulary,
  type CompactVocabularyOptions,
} from './clevr/policy/compact.ts';
export { paperPreset, TINY_SCENES, type ClevrPolicyConfig, type ResolvedClevrPolicyConfig } from './clevr/policy/config.ts';
export type { ClevrPolicy } from './clevr/policy/policy.ts';
export { clevrPolicy, type ClevrPolicyDataset, type ClevrPolicyExample } from './clevr/policy/dataset.ts';
export { COMPACT_NAME_WORDS } from './clevr/policy/names.ts';
export { forwardReasoning, reverseReasoning } from './clevr/policy/trace.ts';
export { scoreClevrPolicy, type ClevrPolicyScore } from './clevr/policy/score.ts';
export {
  captionScene, existenceQuestions, lookupDrill, objectCells, pretrainScene, randomPolicyExample, rasterOrder, treeEntries,
  type ExistenceQuestion, type RandomPolicyExample, type RasterOptions,
} from './clevr/policy/pretrain.ts';
export { chooseShown, compactCrop, COMPACT_CROP_SIDE, objectCrop } from './clevr/policy/demonstrate.ts';
export { paraphrasedQuery, paraphrasePolicy } from './clevr/policy/paraphrase.ts';
export {
  clevrOverride, policyQuestions, scoreOverride, type ClevrOverrideDataset, type ClevrOverrideExample, type ClevrOverrideOptions, type PolicyQuestion,
} from './clevr/policy/update.ts';
export {
  branchingError, branchingErrorRate, citedConditions, firstWrongNode, pathF1, scoreReferral, type BranchingError, type ReferralScore,
} from './clevr/policy/metrics.ts';
export { shortcutBaselines, type ShortcutBaselines } from './clevr/policy/baselines.ts';
export { modelReasoning, type ModelReasoningOptions } from './core/modelreasoning.ts';

export { TOOLS, toolType, type ToolArgument, type ToolCall, type ToolType } from './gta/tools.ts';
export { PAPER_RULES, TIPS } from './gta/policy/paper.ts';
export { FIELDS, type GtaRules, type Restriction, type RuleBullet, type Tip, type UserProfile } from './gta/policy/types.ts';
export { proveRules, ruleBoxes, type RuleBox, type RuleProof } from './gta/policy/prove.ts';
export { generateRules, type GenerateRulesOptions } from './gta/policy/generate.ts';
export { policyDocument, rulesText } from './gta/policy/text.ts';
export { factsOf, resolveTool, type Resolution } from './gta/policy/resolve.ts';
export { FAMILIES } from './gta/episodes/families.ts';
export { makeEpisode, resolveEpisode, type Episode, type ResolvedStep } from './gta/episodes/episode.ts';
export { gtaEntry, instancesFromGta, type GtaEntry, type GtaInstance, type GtaTurn } from './gta/dialogs.ts';
export { gtaPolicy, gtaReasoning, SLICES, type GtaPolicyConfig, type GtaPolicyDataset, type GtaPolicyExample, type HistoryTurn, type Slice } from './gta/dataset.ts';
export {
  gtaOverride, gtaPolicyQuestions, permuteVersions, scoreGtaReferral, type GtaOverrideDataset, type GtaOverrideExample, type GtaOverrideOptions, type GtaReferralScore,
} from './gta/update.ts';
export { formatToolCall, otcFactor, parseToolCall, scoreGtaPolicy, toolRlReward, type GtaScore, type GtaScoreOptions } from './gta/score/score.ts';
export { compactGtaVocabulary, COMPACT_GTA_TOOLS, type CompactGtaCallable, type CompactGtaTool } from './gta/compact/words.ts';
export type { CompactGtaCase, CompactGtaCondition, CompactGtaNode, CompactGtaPolicy, CompactGtaRegion, CompactGtaRules } from './gta/compact/types.ts';
export { compactGtaFromRules, compactPaperGta, COMPACT_MATH_VALUE, resolveCompactGta, sampleCompactGta, type SampleCompactGtaOptions } from './gta/compact/policy.ts';
export { compactGtaDrill, compactGtaQuestion, sceneValues, type SeenScene, type CompactGtaDrill, type CompactGtaQuestion, type CompactGtaQuestionOptions } from './gta/compact/question.ts';
export { compactGtaCallText, parseCompactGtaCall, scoreCompactGta, type CompactGtaCall } from './gta/compact/call.ts';
export { compactGta, COMPACT_GTA_SLICES, type CompactGtaConfig, type CompactGtaDataset, type CompactGtaExample, type CompactGtaSlice } from './gta/compact/dataset.ts';
export { boxOverlap, parseBox, scoreArguments, scoreField, type TextSimilarity } from './gta/score/arguments.ts';
export { evaluateExpression } from './gta/score/expression.ts';
export { textSimilarity } from './gta/score/similarity.ts';
export { gtaStepMetrics, type GtaStepMetrics, type StepPrediction } from './gta/score/steps.ts';
export type { Entity, Picture, PictureKind, TextLine } from './gta/pictures/sketch.ts';

export { readOwnPolicy, ownExamples } from './own/policy.ts';
export type { Finding, OwnPolicy, OwnRow, PolicyFolder } from './own/types.ts';
export { answerText, boxedText, scoreTargets } from './own/target.ts';
export { makeScorer, parseScorerSpec, type OwnAnswer, type Score, type Scorer, type ScorerFunction, type ScorerSpec } from './own/scorers.ts';
export { findNearDuplicates } from './own/duplicates.ts';
export { differenceHash } from './own/differencehash.ts';
export { findBrokenPictures, type Print } from './own/pictures.ts';
export { imageFormat, type ImageFormat } from './files/imageformat.ts';
export { exchangeRow, fromJsonl, fromParquet, importRow, toJsonl, toParquet, type ExchangeFormat, type ExchangeOptions, type ExchangeRow, type ImageFile, type ImportedRow } from './own/exchange.ts';
export { decodePng, encodePng, PNG_HEADER_BYTES, pngSize } from './files/png.ts';
export { canonicalJson, datasetManifest, hashExample, sha256Hex, type DatasetManifest } from './files/hash.ts';
export { contactSheet, type SheetItem } from './files/sheet.ts';
export { treeSvg } from './files/treesvg.ts';
export { judgeReferral, readJudgeScore, referralPrompt } from './core/judge.ts';
export { parseQuestions, verifyQuestion, type ClevrQuestion } from './clevr/program/questions.ts';
