import { DatasetError } from '../../core/error.ts';
import type { Scene } from '../scene/types.ts';
import { evaluateProgram, type ProgramNode, type ProgramValue } from './run.ts';

/** A question of CLEVR's files. */
export interface ClevrQuestion {
  readonly question: string;
  readonly program: readonly ProgramNode[];
  readonly answer: ProgramValue | undefined;
  readonly imageIndex: number;
  readonly imageFilename: string;
}

/** Reads a question file (`{info, questions}`) or a list. Answers may be words (`yes`, `3`) or values. Throws `invalidProgram`. */
export function parseQuestions(value: unknown): ClevrQuestion[] {
  const list = Array.isArray(value) ? value : (value as { questions?: unknown } | null)?.questions;
  if (!Array.isArray(list)) throw new DatasetError('invalidProgram', 'the questions file holds no list; write {"questions": [...]}.');
  return list.map((item: unknown, i): ClevrQuestion => {
    const q = (typeof item === 'object' && item !== null ? item : {}) as Record<string, unknown>;
    const program = q['program'];
    if (!Array.isArray(program) || !program.every((node) => typeof node === 'object' && node !== null)) {
      throw new DatasetError('invalidProgram', `questions[${i}].program is ${JSON.stringify(program)?.slice(0, 60) ?? 'missing'}; write a list of nodes.`);
    }
    return {
      question: String(q['question'] ?? ''),
      program: program as ProgramNode[],
      answer: readAnswer(q['answer']),
      imageIndex: typeof q['image_index'] === 'number' ? q['image_index'] : 0,
      imageFilename: String(q['image_filename'] ?? ''),
    };
  });
}

function readAnswer(value: unknown): ProgramValue | undefined {
  if (value === 'yes') return true;
  if (value === 'no') return false;
  if (typeof value === 'string') return /^\d+$/.test(value) ? Number(value) : value;
  return typeof value === 'number' || typeof value === 'boolean' ? value : undefined;
}

/** Whether a question's program gives its answer in a scene. */
export function verifyQuestion(question: ClevrQuestion, scene: Pick<Scene, 'objects' | 'relationships'>): boolean {
  return evaluateProgram(question.program, scene) === question.answer;
}
