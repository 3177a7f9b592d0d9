/** @file Reasoning written from the policy and the scene: forward (condition by condition) and reverse (from the answer). */
import { ATTRIBUTES, filterPhrase, matches, type Filter } from '../attributes.ts';
import { project, sceneCamera } from '../scene/camera.ts';
import type { Scene, SceneObject } from '../scene/types.ts';
import { extremeObject } from './evaluate.ts';
import { conditionPhrase, EXTREME_WORDS } from './phrases.ts';
import { caseAnswer, type LeafNode, type PathStep } from './types.ts';

/** Evidence named for one condition, at most. */
const MAX_EVIDENCE = 3;

function place(scene: Scene, object: SceneObject): string {
  const [column] = project(sceneCamera(scene, 300, 200), object['3d_coords']);
  return column < 120 ? 'on the left' : column > 180 ? 'on the right' : 'in the middle';
}

function describe(scene: Scene, object: SceneObject): string {
  return `a ${object.size} ${object.color} ${object.material} ${object.shape} ${place(scene, object)}`;
}

function list(items: readonly string[]): string {
  return items.length < 2 ? (items[0] ?? '') : `${items.slice(0, -1).join(', ')} and ${items[items.length - 1]}`;
}

/** The objects that fail a filter in exactly one attribute. */
function nearMisses(scene: Scene, filter: Filter): SceneObject[] {
  return scene.objects.filter((object) => ATTRIBUTES.filter((a) => filter[a] !== undefined && filter[a] !== object[a]).length === 1);
}

function evidence(step: PathStep, scene: Scene): string {
  const { condition } = step.node;
  const named = (objects: readonly SceneObject[]): string => list(objects.slice(0, MAX_EVIDENCE).map((object) => describe(scene, object)));
  switch (condition.kind) {
    case 'exist': {
      const found = scene.objects.filter((object) => matches(object, condition.filter));
      if (found.length > 0) return `I see ${named(found)}.`;
      const near = Object.keys(condition.filter).length > 1 ? nearMisses(scene, condition.filter) : [];
      const none = `there are no ${filterPhrase(condition.filter, true)}.`;
      return near.length > 0 ? `I see ${named(near)}, but ${none}` : `I see that ${none}`;
    }
    case 'count':
    case 'even': {
      const found = scene.objects.filter((object) => matches(object, condition.filter));
      return `I count ${found.length} ${filterPhrase(condition.filter, found.length !== 1)}.`;
    }
    case 'more': {
      const a = scene.objects.filter((object) => matches(object, condition.a)).length;
      const b = scene.objects.filter((object) => matches(object, condition.b)).length;
      return `I count ${a} ${filterPhrase(condition.a, a !== 1)} and ${b} ${filterPhrase(condition.b, b !== 1)}.`;
    }
    case 'extreme':
    case 'same': {
      const object = scene.objects[extremeObject(scene, condition.extreme)] as SceneObject;
      return `The ${EXTREME_WORDS[condition.extreme]} is a ${object.size} ${object.color} ${object.material} ${object.shape}.`;
    }
    case 'relation':
      return `I see ${named(scene.objects.filter((object) => matches(object, condition.a) || matches(object, condition.b))) || 'neither of them'}.`;
    case 'pair':
    case 'all':
      return `I see ${named(scene.objects.filter((object) => matches(object, condition.filter))) || `no ${filterPhrase(condition.filter, true)}`}.`;
    default:
      return condition satisfies never;
  }
}

/** Forward reasoning: each condition on the path, what the image shows, the outcome, and where it leads. */
export function forwardReasoning(path: readonly PathStep[], leaf: LeafNode, scene: Scene): string {
  const lines = path.map((step) => {
    const next = step.outcome ? step.node.yes : step.node.no;
    const goal = next.kind === 'leaf' ? `respond with ${caseAnswer(next)}` : `continue to Condition ${next.id}`;
    return `Condition ${step.node.id}: check if ${conditionPhrase(step.node.condition)}. ${evidence(step, scene)} ${step.outcome ? 'Yes' : 'No'}, ${goal}.`;
  });
  return [...lines, `So the response is ${caseAnswer(leaf)}.`].join('\n');
}

/** Reverse reasoning: the answer first, then why the image satisfies every condition on the way to it. */
export function reverseReasoning(path: readonly PathStep[], leaf: LeafNode, scene: Scene): string {
  const wanted = path.map((step) => `Condition ${step.node.id} is ${step.outcome ? 'met' : 'not met'}`);
  const lines = path.map((step) => `Condition ${step.node.id} (${conditionPhrase(step.node.condition)}): ${evidence(step, scene)} ${step.outcome ? 'Met' : 'Not met'}.`);
  return [`${caseAnswer(leaf)} is reached when ${list(wanted)}.`, ...lines, `All of this holds, so the response is ${caseAnswer(leaf)}.`].join('\n');
}
