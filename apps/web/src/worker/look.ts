/** @file The worker that draws policies and scenes. Messages: `ToLook`, `FromLook`. */
import { compactAnswer, conditionPhrase, evaluateTree, renderScene, type DecisionNode, type TreeNode } from '@trimpi/datasets';
import { runDataset } from '@trimpi/pipeline';
import type { FromLook, SceneView, ToLook, TreeView } from '../protocol.ts';
import { failureOf } from './failure.ts';

/** The model sees 128 x 64 pixels; people see the same scene three times as large. */
const SCALE = 3;

const post = (message: FromLook, transfer: Transferable[] = []) => (self as unknown as Worker).postMessage(message, transfer);

addEventListener('message', ({ data }: MessageEvent<ToLook>) => {
  look(data).catch((cause: unknown) => post({ type: 'failed', failure: failureOf(cause) }));
});

async function look({ config, scenes }: ToLook): Promise<void> {
  const dataset = runDataset(config);
  post({
    type: 'policies',
    policies: dataset.policies.map(({ id, name, text, tree, reachable }) => ({ id, name, text, tree: viewOf(tree.root, reachable) })),
  });
  for (let i = 0; i < Math.min(scenes, dataset.size('test')); i++) {
    const { scene, policyId, policyName, query, answer, leafId } = dataset.example('test', i);
    const { path } = evaluateTree(dataset.policies.find((p) => p.id === policyId)!.tree, scene);
    const { width, height, crop } = dataset.config;
    const shown = crop ?? { x: 0, y: 0, width, height };
    const { rgb } = renderScene(scene, {
      width: width * SCALE,
      height: height * SCALE,
      crop: { x: shown.x * SCALE, y: shown.y * SCALE, width: shown.width * SCALE, height: shown.height * SCALE },
    });
    const view: SceneView = {
      policyId, policyName, query, answer, leafId,
      way: path.map(({ node, outcome }) => `${questionOf(node)} ${outcome ? 'yes' : 'no'}`).join(', '),
      objects: scene.objects.map((o) => `${o.size} ${o.color} ${o.material} ${o.shape}`).join(', '),
      width: shown.width * SCALE,
      height: shown.height * SCALE,
      rgba: rgbaOf(rgb),
    };
    post({ type: 'scene', scene: view }, [view.rgba.buffer]);
  }
  post({ type: 'drawn' });
}

function viewOf(node: TreeNode, reachable: readonly number[]): TreeView {
  if (node.kind === 'leaf') return { kind: 'leaf', id: node.id, answer: compactAnswer(node), reachable: reachable.includes(node.index) };
  return { kind: 'decision', id: node.id, question: questionOf(node), yes: viewOf(node.yes, reachable), no: viewOf(node.no, reachable) };
}

function questionOf({ condition }: DecisionNode): string {
  return `${conditionPhrase(condition).replace(/^the image contains /, '')}?`;
}

function rgbaOf(rgb: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  for (let i = 0, o = 0; i < rgb.length; i += 3, o += 4) out.set(rgb.subarray(i, i + 3), o);
  return out;
}
