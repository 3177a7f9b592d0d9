/** @file Conditions and trees evaluated on a scene, directly from its objects (programs.ts does it independently). */
import { matches, type Filter } from '../attributes.ts';
import { DIRECTIONS } from '../scene/relations.ts';
import type { Scene, SceneObject } from '../scene/types.ts';
import { caseAnswer, type Condition, type Extreme, type PathStep, type PolicyTree, type TreeEvaluation, type TreeNode } from './types.ts';

type SceneObjects = Pick<Scene, 'objects' | 'relationships'>;

const count = (scene: SceneObjects, filter: Filter): number => scene.objects.filter((object) => matches(object, filter)).length;

/** Index of the object that lies farthest along the extreme's ground direction. */
export function extremeObject(scene: Pick<Scene, 'objects'>, extreme: Extreme): number {
  const d = DIRECTIONS[({ leftmost: 'left', rightmost: 'right', closest: 'front', farthest: 'behind' } as const)[extreme]];
  let best = -Infinity;
  let index = 0;
  scene.objects.forEach((object, i) => {
    const p = object['3d_coords'];
    const dot = p[0] * d[0] + p[1] * d[1];
    if (dot > best) {
      best = dot;
      index = i;
    }
  });
  return index;
}

/** Whether a condition holds in a scene. */
export function evaluateCondition(condition: Condition, scene: SceneObjects): boolean {
  const { objects } = scene;
  switch (condition.kind) {
    case 'exist':
      return objects.some((object) => matches(object, condition.filter));
    case 'count': {
      const n = count(scene, condition.filter);
      return condition.compare === 'atLeast' ? n >= condition.k : condition.compare === 'exactly' ? n === condition.k : n < condition.k;
    }
    case 'more':
      return count(scene, condition.a) > count(scene, condition.b);
    case 'even':
      return count(scene, condition.filter) % 2 === 0;
    case 'extreme':
      return objects[extremeObject(scene, condition.extreme)]?.[condition.attribute] === condition.value;
    case 'relation':
      return objects.some(
        (object, i) =>
          matches(object, condition.b) &&
          (scene.relationships[condition.relation][i] ?? []).some((j) => matches(objects[j] as SceneObject, condition.a)),
      );
    case 'same': {
      const index = extremeObject(scene, condition.extreme);
      const value = objects[index]?.[condition.attribute];
      return objects.some((object, i) => i !== index && object[condition.attribute] === value);
    }
    case 'pair': {
      const values = objects.filter((object) => matches(object, condition.filter)).map((object) => object[condition.attribute]);
      return new Set(values).size < values.length;
    }
    case 'all':
      return new Set(objects.filter((object) => matches(object, condition.filter)).map((object) => object[condition.attribute])).size <= 1;
    default:
      return condition satisfies never;
  }
}

/** The leaf, the answer (`Case k`) and the path of a scene in a tree. */
export function evaluateTree(tree: Pick<PolicyTree, 'root'>, scene: SceneObjects): TreeEvaluation {
  const path: PathStep[] = [];
  let node: TreeNode = tree.root;
  while (node.kind === 'decision') {
    const outcome = evaluateCondition(node.condition, scene);
    path.push({ node, outcome });
    node = outcome ? node.yes : node.no;
  }
  return { leaf: node, answer: caseAnswer(node), path };
}
