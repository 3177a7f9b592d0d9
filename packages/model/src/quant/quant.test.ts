import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesSource } from '../safetensors/byte-source.ts';
import { SafetensorsFile } from '../safetensors/reader.ts';
import { dequantiseNbits4, quantiseNbits4 } from './nbits4.ts';
import { dequantiseNf4, NF4_CODEBOOK, quantiseNf4 } from './nf4.ts';

/** Quantised by ONNX Runtime (MatMulNBits) and by bitsandbytes. */
const golden = await SafetensorsFile.open(bytesSource(new Uint8Array(readFileSync(new URL('../../test/fixtures/quant/quant.safetensors', import.meta.url)))));
const W = await golden.readFloat32('W');
const [rows = 0, columns = 0] = golden.info('W').shape;

function worst(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let out = 0;
  for (let i = 0; i < a.length; i++) out = Math.max(out, Math.abs((a[i] ?? NaN) - (b[i] ?? NaN)));
  return out;
}

describe('MatMulNBits', () => {
  it.each([['nbits4_b32_sym', 32, true], ['nbits4_b32_asym', 32, false], ['nbits4_b64_asym', 64, false]] as const)('equals ONNX Runtime: %s', async (name, blockSize, symmetric) => {
    const matrix = quantiseNbits4(W, rows, columns, { blockSize, symmetric });
    expect(Buffer.compare(matrix.data, await golden.readBytes(`${name}.B`))).toBe(0);
    // The division is rounded in another order there: one unit in the last place.
    const scales = await golden.readFloat32(`${name}.scales`);
    expect(worst(matrix.scales.map((scale, i) => scale / (scales[i] ?? NaN)), new Float32Array(scales.length).fill(1))).toBeLessThan(1.2e-7);
    if (symmetric) expect(matrix.zeroPoints).toBeNull();
    else expect(matrix.zeroPoints).toEqual(await golden.readBytes(`${name}.zero_points_packed`));
    const theirs = { ...matrix, scales };
    expect(worst(dequantiseNbits4(theirs), await golden.readFloat32(`${name}.dequant`))).toBe(0);
  });

  it('is off by one step at most, and by nothing at zero', () => {
    const value = fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 }).map((x) => (Math.abs(x) < 1e-30 ? 0 : x));
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 70 }), fc.boolean(), (list, symmetric) => {
        const values = Float32Array.from(list);
        const matrix = quantiseNbits4(values, 1, values.length, { blockSize: 32, symmetric });
        dequantiseNbits4(matrix).forEach((back, i) => {
          const step = Math.abs(matrix.scales[Math.floor(i / 32)] ?? 0);
          // A symmetric block has only seven steps on the side away from its extreme; an asymmetric one moves its zero by half a step.
          expect(Math.abs(back - (values[i] ?? 0))).toBeLessThanOrEqual(step * 1.0001);
          if (values[i] === 0) expect(Math.abs(back)).toBe(0);
        });
      }),
    );
  });

  it('refuses sizes that do not fit', () => {
    expect(() => quantiseNbits4(W, rows, columns + 1, { blockSize: 32, symmetric: true })).toThrow(/must hold/);
    expect(() => quantiseNbits4(W, rows, columns, { blockSize: 24, symmetric: true })).toThrow(/power of two/);
  });
});

describe('NF4', () => {
  it.each([['nf4_b64', 64], ['nf4_b32', 32]] as const)('equals bitsandbytes: %s', async (name, blockSize) => {
    expect(await golden.readFloat32('nf4.codebook')).toEqual(NF4_CODEBOOK);
    const matrix = quantiseNf4(W, blockSize);
    expect(Buffer.compare(matrix.packed, await golden.readBytes(`${name}.packed`))).toBe(0);
    expect(matrix.absmax).toEqual(await golden.readFloat32(`${name}.absmax`));
    expect(worst(dequantiseNf4(matrix), await golden.readFloat32(`${name}.dequant`))).toBe(0);
  });

  it('keeps zeros, and refuses an odd block', () => {
    expect(dequantiseNf4(quantiseNf4(new Float32Array(7)))).toEqual(new Float32Array(7));
    expect(() => quantiseNf4(W, 3)).toThrow(/even/);
  });
});
