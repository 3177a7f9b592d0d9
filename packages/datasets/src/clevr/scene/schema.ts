/** @file CLEVR's scene files: read with every field checked, and written. */
import { DatasetError } from '../../core/error.ts';
import { COLORS, MATERIALS, SHAPES, SIZES } from '../attributes.ts';
import { computeRelationships, DIRECTIONS } from './relations.ts';
import { RELATIONS, type Relation, type Scene, type SceneObject, type SceneRig, type Vector3 } from './types.ts';

function fail(path: string, value: unknown, remedy: string): never {
  throw new DatasetError('invalidScene', `${path} is ${(JSON.stringify(value) ?? 'undefined').slice(0, 80)}; ${remedy}.`);
}

function record(path: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(path, value, 'write an object');
  return value as Record<string, unknown>;
}

function vector(path: string, value: unknown): Vector3 {
  if (!Array.isArray(value) || value.length !== 3 || !value.every((v) => typeof v === 'number' && Number.isFinite(v))) {
    fail(path, value, 'write three finite numbers');
  }
  return [value[0], value[1], value[2]] as Vector3;
}

function word<T extends string>(path: string, value: unknown, allowed: readonly T[]): T {
  return allowed.find((item) => item === value) ?? fail(path, value, `write one of ${allowed.join(', ')}`);
}

function object(path: string, value: unknown): SceneObject {
  const o = record(path, value);
  const rotation = o['rotation'] ?? 0;
  if (typeof rotation !== 'number' || !Number.isFinite(rotation)) fail(`${path}.rotation`, rotation, 'write a number');
  return {
    shape: word(`${path}.shape`, o['shape'], SHAPES),
    size: word(`${path}.size`, o['size'], SIZES),
    material: word(`${path}.material`, o['material'], MATERIALS),
    color: word(`${path}.color`, o['color'], COLORS),
    '3d_coords': vector(`${path}.3d_coords`, o['3d_coords']),
    rotation,
    pixel_coords: o['pixel_coords'] === undefined ? [0, 0, 0] : vector(`${path}.pixel_coords`, o['pixel_coords']),
  };
}

function relationships(path: string, value: unknown, count: number): Record<Relation, number[][]> {
  const r = record(path, value);
  const read = (relation: Relation): number[][] => {
    const lists = r[relation];
    if (!Array.isArray(lists) || lists.length !== count) fail(`${path}.${relation}`, lists, `write ${count} lists`);
    return lists.map((list: unknown, i) => {
      if (!Array.isArray(list) || !list.every((j) => Number.isInteger(j) && j >= 0 && j < count)) {
        fail(`${path}.${relation}[${i}]`, list, `write indices from 0 to ${count - 1}`);
      }
      return list as number[];
    });
  };
  return { left: read('left'), right: read('right'), front: read('front'), behind: read('behind') };
}

function directions(path: string, value: unknown): Scene['directions'] {
  const d = record(path, value);
  const out = { ...DIRECTIONS };
  for (const name of [...RELATIONS, 'above', 'below'] as const) if (d[name] !== undefined) out[name] = vector(`${path}.${name}`, d[name]);
  return out;
}

/** Reads one scene. Relations that are missing are computed. Throws `invalidScene` that names the field. */
export function parseScene(value: unknown, path = 'scene'): Scene {
  const s = record(path, value);
  const list = s['objects'];
  if (!Array.isArray(list) || list.length > 200) fail(`${path}.objects`, list, 'write a list of at most 200 objects');
  const objects = list.map((item: unknown, i) => object(`${path}.objects[${i}]`, item));
  const dirs = s['directions'] === undefined ? DIRECTIONS : directions(`${path}.directions`, s['directions']);
  const index = s['image_index'] ?? 0;
  if (typeof index !== 'number' || !Number.isInteger(index)) fail(`${path}.image_index`, index, 'write an integer');
  const rig = s['rig'] === undefined ? undefined : record(`${path}.rig`, s['rig']);
  const light = (name: keyof SceneRig): Vector3 => vector(`${path}.rig.${name}`, rig?.[name]);
  return {
    split: typeof s['split'] === 'string' ? s['split'] : '',
    image_index: index,
    image_filename: typeof s['image_filename'] === 'string' ? s['image_filename'] : '',
    objects,
    directions: dirs,
    relationships:
      s['relationships'] === undefined
        ? computeRelationships(objects.map((o) => o['3d_coords']), dirs)
        : relationships(`${path}.relationships`, s['relationships'], objects.length),
    ...(rig === undefined ? {} : { rig: { camera: light('camera'), key: light('key'), fill: light('fill'), back: light('back') } }),
  };
}

/** Reads a scene file (`{info, scenes}`), a list of scenes, or one scene. */
export function parseScenes(value: unknown): Scene[] {
  if (Array.isArray(value)) return value.map((item: unknown, i) => parseScene(item, `scenes[${i}]`));
  const file = record('scenes file', value);
  return Array.isArray(file['scenes']) ? parseScenes(file['scenes']) : [parseScene(file)];
}

/** A scene file in CLEVR's form. */
export function sceneFile(scenes: readonly Scene[], split: string): { info: Record<string, string>; scenes: readonly Scene[] } {
  return { info: { split, version: '1.0', date: '', license: 'Creative Commons Attribution (CC-BY 4.0)' }, scenes };
}
