/** @file jax-js, on WebGPU or on WebAssembly. Every function is jitted; the whole training step is one jitted function. */
import { pathToFileURL } from 'node:url';
import { ADAMW, gptParameters, gptTokens, integers, rotary, sideBySide, uniform } from '../cases.mjs';
import { installWebGpu, peers } from './dawn.mjs';

export async function open(backend) {
  const held = backend === 'webgpu' ? await installWebGpu() : { adapter: 'cpu', dispatches: 0 };
  const jax = await import(pathToFileURL(peers.resolve('@jax-js/jax').replace(/index\.cjs$/, 'index.js')));
  const { numpy: np, nn } = jax;
  await jax.init(backend);
  jax.defaultDevice(backend);
  const array = (values, shape) => np.array(values, { shape, dtype: values instanceof Int32Array ? np.int32 : np.float32 });

  /** A jitted function over constant arrays. */
  const replay = (f, inputs, order = (parts) => parts[0]) => {
    const jitted = jax.jit(f);
    let out = [];
    // Evaluation is lazy: what is dropped before it is waited for is never computed.
    const older = [];
    return {
      run() {
        older.push(...out);
        const made = jitted(...inputs.map((x) => x.ref));
        out = Array.isArray(made) ? made : [made];
      },
      async sync() {
        await jax.blockUntilReady([...older, ...out]);
        for (const o of older.splice(0)) o.dispose();
      },
      result: async () => order(await Promise.all(out.map((o) => o.ref.data()))),
      dispose() {
        for (const o of [...out, ...inputs]) o.dispose();
      },
    };
  };

  const attention = (q, k, v) => nn.dotProductAttention(q, k, v, { isCausal: true });

  function prepare(c) {
    if (c.kind === 'matmul') return replay((a, b) => np.matmul(a, b), [array(uniform(c.m * c.k, 1), [c.m, c.k]), array(uniform(c.k * c.n, 2), [c.k, c.n])]);
    if (c.kind === 'attention' || c.kind === 'attentionBackward') {
      const { b, t, h, d } = c;
      const [q, k, v, dO] = [1, 2, 3, 4].map((seed) => array(uniform(b * t * h * d, seed), [b, t, h, d]));
      if (c.kind === 'attention') return replay(attention, [q, k, v]);
      const gradient = jax.grad((x, y, z, w) => np.sum(attention(x, y, z).mul(w)), { argnums: [0, 1, 2] });
      return replay((...x) => gradient(...x), [q, k, v, dO], (parts) => sideBySide(parts, b * t));
    }
    if (c.kind === 'crossEntropy') {
      const loss = (z, t) => np.mean(np.sum(nn.logSoftmax(z, -1).mul(nn.oneHot(t, c.v)), -1)).mul(-1);
      return replay((z, t) => jax.grad(loss)(z, t), [array(uniform(c.r * c.v, 1, 4), [c.r, c.v]), array(integers(c.r, c.v, 2), [c.r])]);
    }
    if (c.kind === 'adamw') {
      const update = jax.jit((p, g, m, v, k) => adamw(p, g, m, v, k, true));
      const g = array(uniform(c.n, 2, 0.1), [c.n]);
      let state = [array(uniform(c.n, 1), [c.n]), np.zeros([c.n]), np.zeros([c.n])];
      return {
        run() {
          state = update(state[0], g.ref, state[1], state[2], array(corrections(1), [2]));
        },
        sync: () => jax.blockUntilReady(state),
        result: () => state[0].ref.data(),
        dispose: () => [...state, g].forEach((x) => x.dispose()),
      };
    }
    return gpt(c);
  }

  const corrections = (step) => Float32Array.of(1 / (1 - ADAMW.beta1 ** step), 1 / (1 - ADAMW.beta2 ** step));

  function adamw(p, g, m, v, k, decays) {
    const { learningRate: lr, beta1, beta2, eps, weightDecay } = ADAMW;
    const m1 = m.mul(beta1).add(g.ref.mul(1 - beta1));
    const v1 = v.mul(beta2).add(g.ref.mul(g).mul(1 - beta2));
    const [k1, k2] = np.split(k, 2, 0);
    const step = m1.ref.mul(k1).div(np.sqrt(v1.ref.mul(k2)).add(eps));
    return [p.mul(decays ? 1 - lr * weightDecay : 1).sub(step.mul(lr)), m1, v1];
  }

  function gpt(c) {
    const { batch, length, width, heads, layers } = c;
    const d = width / heads;
    const half = d / 2;
    const parameters = Object.entries(gptParameters(c));
    const names = parameters.map(([name]) => name);
    let state = [parameters.map(([, [shape, values]]) => array(values, shape)), parameters.map(([, [shape]]) => np.zeros(shape)), parameters.map(([, [shape]]) => np.zeros(shape))];
    const tokens = gptTokens(c);
    const { cos, sin } = rotary(length, d);
    const constants = [array(tokens.ids, [batch * length]), array(tokens.targets, [batch * length]), array(cos, [1, length, 1, half]), array(sin, [1, length, 1, half])];

    const norm = (x, w) => {
      const r = np.sqrt(np.mean(x.ref.mul(x.ref), -1, { keepdims: true }).add(1e-5));
      return x.div(r).mul(w);
    };
    const turn = (x, cosine, sine) => {
      const [a, b] = np.split(x, 2, 3);
      return np.concatenate([a.ref.mul(cosine.ref).sub(b.ref.mul(sine.ref)), b.mul(cosine).add(a.mul(sine))], 3);
    };
    const loss = (list, ids, targets, cosine, sine) => {
      const p = Object.fromEntries(names.map((name, i) => [name, list[i]]));
      let x = np.matmul(nn.oneHot(ids, c.vocabulary), p.table.ref);
      for (let i = 0; i < layers; i++) {
        const qkv = np.matmul(norm(x.ref, p[`${i}.norm1`]), p[`${i}.qkv`]);
        const [q, k, v] = np.split(qkv, 3, 1).map((y) => y.reshape([batch, length, heads, d]));
        const seen = attention(turn(q, cosine.ref, sine.ref), turn(k, cosine.ref, sine.ref), v).reshape([batch * length, width]);
        x = x.add(np.matmul(seen, p[`${i}.out`]));
        const [gate, up] = np.split(np.matmul(norm(x.ref, p[`${i}.norm2`]), p[`${i}.up`]), 2, 1);
        x = x.add(np.matmul(nn.silu(gate).mul(up), p[`${i}.down`]));
      }
      cosine.dispose();
      sine.dispose();
      const logits = np.matmul(norm(x, p.norm), p.table.transpose());
      return np.mean(np.sum(nn.logSoftmax(logits, -1).mul(nn.oneHot(targets, c.vocabulary)), -1)).mul(-1);
    };
    const step = jax.jit((p, m, v, ids, targets, cosine, sine, k) => {
      const [value, gradients] = jax.valueAndGrad(loss)(p.map((x) => x.ref), ids, targets, cosine, sine);
      const updated = p.map((x, i) => adamw(x, gradients[i], m[i], v[i], k.ref, parameters[i][1][0].length > 1));
      k.dispose();
      return [value, updated.map((u) => u[0]), updated.map((u) => u[1]), updated.map((u) => u[2])];
    });
    let count = 0;
    let value = 0;
    return {
      async run() {
        const [l, ...next] = step(...state, ...constants.map((x) => x.ref), array(corrections(++count), [2]));
        state = next;
        value = (await l.data())[0];
      },
      sync: () => jax.blockUntilReady(state),
      result: async () => Float32Array.of(value),
      dispose: () => jax.tree.dispose([state, constants]),
    };
  }

  return { adapter: held.adapter, held, prepare: async (c) => prepare(c), dispose: () => held.device?.destroy() };
}
