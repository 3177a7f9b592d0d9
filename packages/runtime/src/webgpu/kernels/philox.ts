/** @file Counter-based random numbers in WGSL, the same as `random.ts`. */

/** Philox4x32-10 (Salmon et al. 2011): counter and key in, 24 random bits out as a number in (0, 1). */
export const PHILOX = /* wgsl */ `
fn mulHigh(a: u32, b: u32) -> u32 {
  let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
  let mid = ah * bl + ((al * bl) >> 16u);
  let mid2 = al * bh + (mid & 0xffffu);
  return ah * bh + (mid >> 16u) + (mid2 >> 16u);
}
fn philox(c0: u32, c1: u32, key0: u32, key1: u32) -> u32 {
  var c = vec4<u32>(c0, c1, 0u, 0u);
  var k = vec2<u32>(key0, key1);
  for (var i = 0; i < 10; i++) {
    let h0 = mulHigh(0xD2511F53u, c.x); let l0 = 0xD2511F53u * c.x;
    let h1 = mulHigh(0xCD9E8D57u, c.z); let l1 = 0xCD9E8D57u * c.z;
    c = vec4<u32>(h1 ^ c.y ^ k.x, l1, h0 ^ c.w ^ k.y, l0);
    k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
  }
  return c.x;
}`;
