import type { Scene, SceneRig, Vector3 } from './types.ts';

/** CLEVR's rig without jitter (read from its Blender file). */
export const MEAN_RIG: SceneRig = {
  camera: [7.48113, -6.50764, 5.34367],
  key: [6.44671, -2.90517, 4.2584],
  fill: [-4.67112, -4.0136, 3.01122],
  back: [-1.1685, 2.64602, 5.81574],
};

/** A pinhole camera that looks at the origin: axes of unit length, focal length in pixels. */
export interface Camera {
  readonly position: Vector3;
  readonly right: Vector3;
  readonly up: Vector3;
  readonly forward: Vector3;
  readonly focal: number;
  readonly width: number;
  readonly height: number;
}

/** CLEVR's camera: 35 mm lens, 32 mm sensor along the longer side, tracked to the origin. */
export function makeCamera(position: Vector3, width: number, height: number): Camera {
  const [x, y, z] = position;
  const length = Math.sqrt(x * x + y * y + z * z);
  const forward: Vector3 = [-x / length, -y / length, -z / length];
  const flat = Math.sqrt(forward[0] * forward[0] + forward[1] * forward[1]);
  const right: Vector3 = [forward[1] / flat, -forward[0] / flat, 0];
  const up: Vector3 = [
    right[1] * forward[2] - right[2] * forward[1],
    right[2] * forward[0] - right[0] * forward[2],
    right[0] * forward[1] - right[1] * forward[0],
  ];
  return { position, right, up, forward, focal: (35 / 32) * (width > height ? width : height), width, height };
}

/** The camera of a scene at an image size. */
export function sceneCamera(scene: Pick<Scene, 'rig'>, width: number, height: number): Camera {
  return makeCamera((scene.rig ?? MEAN_RIG).camera, width, height);
}

/** Column, row (continuous pixel coordinates, 0 at the left and top edge) and depth along the view axis. */
export function project(camera: Camera, point: Vector3): [number, number, number] {
  const dx = point[0] - camera.position[0];
  const dy = point[1] - camera.position[1];
  const dz = point[2] - camera.position[2];
  const depth = dx * camera.forward[0] + dy * camera.forward[1] + dz * camera.forward[2];
  const x = dx * camera.right[0] + dy * camera.right[1] + dz * camera.right[2];
  const y = dx * camera.up[0] + dy * camera.up[1] + dz * camera.up[2];
  return [camera.width / 2 + (camera.focal * x) / depth, camera.height / 2 - (camera.focal * y) / depth, depth];
}
