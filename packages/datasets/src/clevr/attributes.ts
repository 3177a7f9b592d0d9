/** @file CLEVR's object properties and the 96 kinds of object they make. */

export const SIZES = ['small', 'large'] as const;
export const COLORS = ['gray', 'red', 'blue', 'green', 'brown', 'purple', 'cyan', 'yellow'] as const;
export const MATERIALS = ['rubber', 'metal'] as const;
export const SHAPES = ['cube', 'sphere', 'cylinder'] as const;

export type Size = (typeof SIZES)[number];
export type Color = (typeof COLORS)[number];
export type Material = (typeof MATERIALS)[number];
export type Shape = (typeof SHAPES)[number];

/** The attribute types, in the order in which the words of an object are said. */
export const ATTRIBUTES = ['size', 'color', 'material', 'shape'] as const;
export type Attribute = (typeof ATTRIBUTES)[number];
/** What a crop of an object can show; its size is lost in the paper's crops. */
export const SHOWABLE: readonly Attribute[] = ['color', 'material', 'shape'];
export type AttributeValue = Size | Color | Material | Shape;

export const ATTRIBUTE_VALUES: Readonly<Record<Attribute, readonly AttributeValue[]>> = {
  size: SIZES,
  color: COLORS,
  material: MATERIALS,
  shape: SHAPES,
};

/** The four attributes of an object. */
export interface ObjectType {
  readonly size: Size;
  readonly color: Color;
  readonly material: Material;
  readonly shape: Shape;
}

/** A conjunction of attribute values; an attribute that is not named may have any value. */
export type Filter = Partial<Readonly<Record<Attribute, AttributeValue>>>;

/** All 96 kinds of object; the index is the kind's code. */
export const OBJECT_TYPES: readonly ObjectType[] = SIZES.flatMap((size) =>
  COLORS.flatMap((color) => MATERIALS.flatMap((material) => SHAPES.map((shape) => ({ size, color, material, shape })))),
);

/** The code in [0, 96) of a kind of object. */
export function objectTypeCode(type: ObjectType): number {
  const s = SIZES.indexOf(type.size);
  const c = COLORS.indexOf(type.color);
  const m = MATERIALS.indexOf(type.material);
  return ((s * 8 + c) * 2 + m) * 3 + SHAPES.indexOf(type.shape);
}

/** Whether an object has every value that the filter names. */
export function matches(type: ObjectType, filter: Filter): boolean {
  return (
    (filter.size === undefined || filter.size === type.size) &&
    (filter.color === undefined || filter.color === type.color) &&
    (filter.material === undefined || filter.material === type.material) &&
    (filter.shape === undefined || filter.shape === type.shape)
  );
}

/** The filter's values in the order size, colour, material, shape. */
export function filterWords(filter: Filter): AttributeValue[] {
  return ATTRIBUTES.flatMap((attribute) => {
    const value = filter[attribute];
    return value === undefined ? [] : [value];
  });
}

/** A noun phrase such as `small cyan rubber spheres` or, without a shape, `metal objects`. */
export function filterPhrase(filter: Filter, plural: boolean): string {
  const { shape, ...rest } = filter;
  return [...filterWords(rest), (shape ?? 'object') + (plural ? 's' : '')].join(' ');
}

/** The attribute that a value belongs to. */
export function attributeOf(value: AttributeValue): Attribute {
  for (const attribute of ATTRIBUTES) if (ATTRIBUTE_VALUES[attribute].includes(value)) return attribute;
  return 'shape';
}

/** CLEVR's colours in 0..255; divided by 255 they are the linear albedo. */
export const COLOR_RGB: Readonly<Record<Color, readonly [number, number, number]>> = {
  gray: [87, 87, 87],
  red: [173, 35, 35],
  blue: [42, 75, 215],
  green: [29, 105, 20],
  brown: [129, 74, 25],
  purple: [129, 38, 192],
  cyan: [41, 208, 208],
  yellow: [255, 238, 51],
};

/** Radius, or half the edge of a cube. */
export const SIZE_RADIUS: Readonly<Record<Size, number>> = { large: 0.7, small: 0.35 };

const COGENT_CUBE: readonly Color[] = ['gray', 'blue', 'brown', 'yellow'];
const COGENT_CYLINDER: readonly Color[] = ['red', 'green', 'purple', 'cyan'];

/** The kinds of object of CLEVR-CoGenT: in condition A cubes and cylinders have four colours each, in B the other four. */
export function cogentTypes(condition: 'A' | 'B'): readonly ObjectType[] {
  const [cubes, cylinders] = condition === 'A' ? [COGENT_CUBE, COGENT_CYLINDER] : [COGENT_CYLINDER, COGENT_CUBE];
  return OBJECT_TYPES.filter(({ shape, color }) => shape === 'sphere' || (shape === 'cube' ? cubes : cylinders).includes(color));
}
