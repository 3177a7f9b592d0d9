import type { Color, Material, Shape, Size } from '../attributes.ts';

export type Vector3 = readonly [number, number, number];

export const RELATIONS = ['left', 'right', 'front', 'behind'] as const;
export type Relation = (typeof RELATIONS)[number];

/** An object as CLEVR's scene files write it. `rotation` is stored as degrees but, as in CLEVR, used as radians. */
export interface SceneObject {
  readonly shape: Shape;
  readonly size: Size;
  readonly material: Material;
  readonly color: Color;
  readonly '3d_coords': Vector3;
  readonly rotation: number;
  /** Column, row, and depth along the view axis. */
  readonly pixel_coords: Vector3;
}

/** Where the camera and the three jittered lights stand. */
export interface SceneRig {
  readonly camera: Vector3;
  readonly key: Vector3;
  readonly fill: Vector3;
  readonly back: Vector3;
}

/** A scene in CLEVR's JSON schema; `rig` is ours (absent in CLEVR's own files: then the mean positions are used). */
export interface Scene {
  readonly split: string;
  readonly image_index: number;
  readonly image_filename: string;
  readonly objects: readonly SceneObject[];
  readonly directions: Readonly<Record<Relation | 'above' | 'below', Vector3>>;
  /** `relationships[r][i]` lists, ascending, the objects that are `r` of object i. */
  readonly relationships: Readonly<Record<Relation, readonly (readonly number[])[]>>;
  readonly rig?: SceneRig;
}
