/** @file Policies and scenes of ClevrPolicy in the form in which the page shows them. */
import { type ClevrPolicyDataset, type ClevrPolicyExample, compactAnswer, conditionPhrase, type DecisionNode, evaluateTree, renderScene, type Scene, type TreeNode } from '@trimpi/datasets';
import type { PolicyPicture, PolicyView, ScenePicture, SceneView, TreeView } from '../protocol.ts';

/** The model sees 128 x 64 pixels; people see the same scene three times as large. */
const SCALE = 3;

export function policyViews({ policies }: ClevrPolicyDataset): PolicyView[] {
  return policies.map(({ id, name, text, tree, reachable, images }) => {
    // `1.1 shape <image> ;`: the node that a picture belongs to is named before it.
    const nodes = [...text.matchAll(/(\S+) \S+ <image>/g)].map(([, node]) => tree.nodes.find((n) => n.id === node));
    const pictures = images.map(({ width, height, rgb }, i): PolicyPicture => {
      const asked = nodes[i]?.asked;
      return { width, height, rgba: rgbaOf(rgb), shows: asked === undefined ? 'an object' : `${asked.attribute} ${asked.value}` };
    });
    return { id, name, text, pictures, trees: [{ title: '', root: treeView(tree.root, reachable) }], tips: [] };
  });
}

export function sceneView({ config, policies }: ClevrPolicyDataset, { scene, policyId, policyName, query, answer, leafId }: ClevrPolicyExample): SceneView {
  const { path } = evaluateTree(policies.find((p) => p.id === policyId)!.tree, scene);
  return {
    policyId, policyName, query, answer, leafId,
    path: path.map(({ node }) => node.id),
    way: path.map(({ node, outcome }) => `${questionOf(node)} ${outcome ? 'yes' : 'no'}`).join(', '),
    pictures: [scenePicture(scene, config)],
  };
}

/** A scene as it is shown to people. */
export function scenePicture(scene: Scene, { width, height, crop }: Pick<ClevrPolicyDataset['config'], 'width' | 'height' | 'crop'>, name = ''): ScenePicture {
  const shown = crop ?? { x: 0, y: 0, width, height };
  const { rgb } = renderScene(scene, {
    width: width * SCALE,
    height: height * SCALE,
    crop: { x: shown.x * SCALE, y: shown.y * SCALE, width: shown.width * SCALE, height: shown.height * SCALE },
  });
  return {
    name,
    objects: scene.objects.map((o) => `${o.size} ${o.color} ${o.material} ${o.shape}`).join(', '),
    width: shown.width * SCALE,
    height: shown.height * SCALE,
    rgba: rgbaOf(rgb),
  };
}

export function rgbaOf(rgb: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  for (let i = 0, o = 0; i < rgb.length; i += 3, o += 4) out.set(rgb.subarray(i, i + 3), o);
  return out;
}

function treeView(node: TreeNode, reachable: readonly number[]): TreeView {
  if (node.kind === 'leaf') return { kind: 'leaf', id: node.id, answer: compactAnswer(node), reachable: reachable.includes(node.index) };
  return { kind: 'decision', id: node.id, question: questionOf(node), yes: treeView(node.yes, reachable), no: treeView(node.no, reachable) };
}

function questionOf({ condition }: DecisionNode): string {
  return `${conditionPhrase(condition).replace(/^the image contains /, '')}?`;
}
