import { describe, expect, it } from 'vitest';
import { DatasetError, generateScene, judgeReferral, parseQuestions, readJudgeScore, verifyQuestion } from '../src/index.ts';

describe('parseQuestions', () => {
  const scene = generateScene({ minObjects: 4, maxObjects: 4 }, 5);
  const program = [{ function: 'scene', inputs: [], value_inputs: [] }, { function: 'count', inputs: [0], value_inputs: [] }];
  it('reads CLEVR question files and verifies their answers', () => {
    const file = { info: {}, questions: [{ question: 'How many things are there?', program, answer: '4', image_index: 0, image_filename: 'a.png' }, { question: 'Any?', program: [program[0], { function: 'exist', inputs: [0] }], answer: 'yes' }, { question: 'How many?', program, answer: '5' }] };
    expect(parseQuestions(file).map((q) => verifyQuestion(q, scene))).toEqual([true, true, false]);
  });
  it.each([null, {}, { questions: 3 }, [{ program: 'x' }], [3]])('refuses %j', (value) => expect(() => parseQuestions(value)).toThrow(DatasetError));
});

describe('judge hook', () => {
  it('reads one boxed integer and counts silence as nothing', async () => {
    expect([readJudgeScore('\\boxed{7}'), readJudgeScore('7'), readJudgeScore('\\boxed{7}\\boxed{9}'), readJudgeScore('\\boxed{99}')]).toEqual([7, undefined, undefined, undefined]);
    const replies = ['\\boxed{8}', 'well'];
    expect(await judgeReferral([{ policyText: 'p', reasoning: 'r' }, { policyText: 'p', reasoning: 's' }], () => Promise.resolve(replies.shift() ?? ''))).toBe(4);
  });
});
