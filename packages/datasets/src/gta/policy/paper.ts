/** @file The paper's policy: 20 rules on versions and 4 tips, over account type, credits, age and the image. */
import type { GtaRules, Restriction, RuleBullet, Tip } from './types.ts';

const account = (...values: string[]): Restriction => ({ field: 'account_type', values });
const credits = (low: number, high: number): Restriction => ({ field: 'credits', low, high });
const age = (low: number, high: number): Restriction => ({ field: 'age', low, high });
const maths = (value: 'yes' | 'no'): Restriction => ({ field: 'hasMath', values: [value] });
const MAX_CREDITS = 1000;
const MIN_AGE = 13;
const MAX_AGE = 85;

const HIGH = credits(501, MAX_CREDITS);
const LOW = credits(0, 500);

function bullet(id: string, tool: string, when: readonly Restriction[], choices: RuleBullet['choices'], text: string): RuleBullet {
  return { id, tool, when, choices, text };
}

const one = (name: string): RuleBullet['choices'] => [{ when: [], name }];
const either = (test: Restriction, yes: string, other: Restriction, no: string): RuleBullet['choices'] => [
  { when: [test], name: yes },
  { when: [other], name: no },
];

const BULLETS: readonly RuleBullet[] = [
  bullet('ImageDescription.1', 'ImageDescription', [account('A')], one('ImageDescription_v5'), 'If account_type is A, use ImageDescription_v5.'),
  bullet('ImageDescription.2', 'ImageDescription', [account('B', 'C')], either(HIGH, 'ImageDescription_v4', LOW, 'ImageDescription_v3'), 'If account_type is B or C, use ImageDescription_v4 when credits > 500, otherwise ImageDescription_v3.'),
  bullet('ImageDescription.3', 'ImageDescription', [account('D')], either(HIGH, 'ImageDescription_v2', LOW, 'ImageDescription_v1'), 'If account_type is D, use ImageDescription_v2 when credits > 500, otherwise ImageDescription_v1.'),
  bullet('OCR.1', 'OCR', [maths('no'), credits(0, 250)], one('OCR_v5'), 'If credits <= 250, use OCR_v5.'),
  bullet('OCR.2', 'OCR', [maths('no'), credits(251, 750)], either(account('A', 'B'), 'OCR_v4', account('C', 'D'), 'OCR_v3'), 'If 250 < credits <= 750, use OCR_v4 when account_type is in [A, B], otherwise OCR_v3.'),
  bullet('OCR.3', 'OCR', [maths('no'), credits(751, MAX_CREDITS)], either(age(MIN_AGE, 20), 'OCR_v2', age(21, MAX_AGE), 'OCR_v1'), 'If credits > 750, use OCR_v2 when age < 21, otherwise OCR_v1.'),
  bullet('OCR.4', 'OCR', [maths('yes')], one('MathOCR'), 'If the image contains mathematical expressions, use MathOCR instead of any OCR version.'),
  bullet('GoogleSearch.1', 'GoogleSearch', [age(MIN_AGE, 20)], one('GoogleSearch_v1'), 'If age < 21, use GoogleSearch_v1.'),
  bullet('GoogleSearch.2', 'GoogleSearch', [age(21, MAX_AGE)], either(credits(0, 499), 'GoogleSearch_v2', credits(500, MAX_CREDITS), 'GoogleSearch_v3'), 'If age >= 21, use GoogleSearch_v2 when credits < 500, otherwise GoogleSearch_v3.'),
  bullet('TextToImage.1', 'TextToImage', [account('A', 'B', 'C')], one('TextToImage_v1'), 'If account_type is in [A, B, C], use TextToImage_v1.'),
  bullet('TextToImage.2', 'TextToImage', [account('D')], either(HIGH, 'TextToImage_v2', LOW, 'TextToImage_v3'), 'If account_type is D, use TextToImage_v2 when credits > 500, otherwise TextToImage_v3.'),
  bullet('RegionAttributeDescription.1', 'RegionAttributeDescription', [account('A', 'B')], one('RegionAttributeDescription_v2'), 'If account_type is A or B, use RegionAttributeDescription_v2.'),
  bullet('RegionAttributeDescription.2', 'RegionAttributeDescription', [account('C', 'D')], one('RegionAttributeDescription_v1'), 'If account_type is C or D, use RegionAttributeDescription_v1.'),
  bullet('CountGivenObject.1', 'CountGivenObject', [credits(0, 249)], one('CountGivenObject_v1'), 'If credits < 250, use CountGivenObject_v1.'),
  bullet('CountGivenObject.2', 'CountGivenObject', [credits(250, 499)], one('CountGivenObject_v2'), 'If 250 <= credits < 500, use CountGivenObject_v2.'),
  bullet('CountGivenObject.3', 'CountGivenObject', [credits(500, 749)], one('CountGivenObject_v3'), 'If 500 <= credits < 750, use CountGivenObject_v3.'),
  bullet('CountGivenObject.4', 'CountGivenObject', [credits(750, MAX_CREDITS)], one('CountGivenObject_v4'), 'If credits >= 750, use CountGivenObject_v4.'),
  bullet('ImageStylization.1', 'ImageStylization', [age(MIN_AGE, 20)], one('ImageStylization_v1'), 'If age < 21, use ImageStylization_v1.'),
  bullet('ImageStylization.2', 'ImageStylization', [age(21, 59)], one('ImageStylization_v2'), 'If 21 <= age < 60, use ImageStylization_v2.'),
  bullet('ImageStylization.3', 'ImageStylization', [age(60, MAX_AGE)], one('ImageStylization_v3'), 'If age >= 60, use ImageStylization_v3.'),
];

/** The paper's four additional tips. */
export const TIPS: readonly Tip[] = [
  { id: 'Tip.1', kind: 'describeFirst', text: 'If there are several images, first call an ImageDescription tool on every image that has not been described yet.' },
  { id: 'Tip.2', kind: 'bboxFirst', text: 'Before a RegionAttributeDescription tool, obtain the bbox with TextToBbox; write it as (x1, y1, x2, y2).' },
  { id: 'Tip.3', kind: 'exactNames', text: 'Image arguments are exact image names such as "image/image_1.jpg".' },
  { id: 'Tip.4', kind: 'searchK', text: 'For GoogleSearch tools, set k to 1 if the question is not open-ended, otherwise to 4.' },
];

/** The paper's policy, in full. */
export const PAPER_RULES: GtaRules = {
  id: 'paper',
  bullets: BULLETS,
  tips: TIPS,
  fields: ['account_type', 'credits', 'age'],
  versions: { OCR: 5, CountGivenObject: 4, ImageDescription: 5, GoogleSearch: 3, RegionAttributeDescription: 2, TextToImage: 3, ImageStylization: 3 },
};
