import type { Activation } from '../../ops/types.ts';

/** WGSL of the activations and their derivatives. */
export const MATH = /* wgsl */ `
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }
// erfc by the Chebyshev fit of Press et al., Numerical Recipes 6.2 (relative error below 1.2e-7 everywhere).
fn erfc(x: f32) -> f32 {
  let z = abs(x);
  let t = 1.0 / (1.0 + 0.5 * z);
  let e = t * exp(-z * z - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
  return select(2.0 - e, e, x >= 0.0);
}
fn normalCdf(x: f32) -> f32 { return 0.5 * erfc(-x * 0.70710678118654752); }
fn tanhSafe(x: f32) -> f32 { return tanh(clamp(x, -15.0, 15.0)); }
fn act_silu(x: f32) -> f32 { return x * sigmoid(x); }
fn act_gelu(x: f32) -> f32 { return x * normalCdf(x); }
fn act_geluTanh(x: f32) -> f32 { return 0.5 * x * (1.0 + tanhSafe(0.7978845608028654 * (x + 0.044715 * x * x * x))); }
fn act_quickGelu(x: f32) -> f32 { return x * sigmoid(1.702 * x); }
fn d_silu(x: f32) -> f32 { let s = sigmoid(x); return s * (1.0 + x * (1.0 - s)); }
fn d_gelu(x: f32) -> f32 { return normalCdf(x) + x * 0.3989422804014327 * exp(-0.5 * x * x); }
fn d_geluTanh(x: f32) -> f32 {
  let u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
  let t = tanhSafe(u);
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 0.134145 * x * x);
}
fn d_quickGelu(x: f32) -> f32 { let s = sigmoid(1.702 * x); return s * (1.0 + 1.702 * x * (1.0 - s)); }
`;

/** The WGSL expression of an activation of `x`. */
export function activationOf(kind: Activation, x: string): string {
  return kind === 'none' ? x : `act_${kind}(${x})`;
}
