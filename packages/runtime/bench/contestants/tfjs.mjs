/** @file TensorFlow.js with its WebGPU backend. */
import { ADAMW, causalMask, gptParameters, gptTokens, integers, rotary, sideBySide, uniform } from '../cases.mjs';
import { installWebGpu, peers } from './dawn.mjs';

export async function open() {
  const held = await installWebGpu();
  const tf = peers('@tensorflow/tfjs');
  peers('@tensorflow/tfjs-backend-webgpu');
  await tf.setBackend('webgpu');
  await tf.ready();
  // Small tensors would go to the CPU otherwise.
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  const sync = async () => {
    const backend = tf.backend();
    if (backend.commandEncoder) {
      backend.endComputePassEncoder();
      backend.submitQueue();
    }
    await held.device.queue.onSubmittedWorkDone();
  };

  const replay = (f, order = (parts) => parts[0]) => {
    let out = [];
    return {
      run() {
        tf.dispose(out);
        out = [tf.tidy(f)].flat();
      },
      sync,
      result: async () => order(await Promise.all(out.map((t) => t.data()))),
      dispose: () => tf.dispose(out),
    };
  };

  /** Over [b, h, t, d]. */
  const attend = (q, k, v, mask, d) => tf.matMul(tf.softmax(tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(d)), mask)), v);
  const heads = (x) => tf.transpose(x, [0, 2, 1, 3]);

  function prepare(c) {
    if (c.kind === 'matmul') {
      const a = tf.tensor2d(uniform(c.m * c.k, 1), [c.m, c.k]);
      const b = tf.tensor2d(uniform(c.k * c.n, 2), [c.k, c.n]);
      return replay(() => tf.matMul(a, b));
    }
    if (c.kind === 'attention' || c.kind === 'attentionBackward') {
      const { b, t, h, d } = c;
      const [q, k, v, dO] = [1, 2, 3, 4].map((seed) => tf.tensor4d(uniform(b * t * h * d, seed), [b, t, h, d]));
      const mask = tf.tensor2d(causalMask(t), [t, t]);
      const forward = (x, y, z) => heads(attend(heads(x), heads(y), heads(z), mask, d));
      if (c.kind === 'attention') return replay(() => forward(q, k, v));
      const gradient = tf.grads(forward);
      return replay(() => gradient([q, k, v], dO), (parts) => sideBySide(parts, b * t));
    }
    if (c.kind === 'crossEntropy') {
      const z = tf.tensor2d(uniform(c.r * c.v, 1, 4), [c.r, c.v]);
      const hot = tf.oneHot(tf.tensor1d(integers(c.r, c.v, 2), 'int32'), c.v).toFloat();
      const gradient = tf.grad((x) => tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(x), hot), -1))));
      return replay(() => gradient(z));
    }
    if (c.kind === 'adamw') {
      const g = tf.tensor1d(uniform(c.n, 2, 0.1));
      const state = [tf.variable(tf.tensor1d(uniform(c.n, 1))), tf.variable(tf.zeros([c.n])), tf.variable(tf.zeros([c.n]))];
      return { run: () => tf.tidy(() => adamw(state, g, 1, true)), sync, result: () => state[0].data(), dispose: () => tf.dispose([state, g]) };
    }
    return gpt(c);
  }

  function adamw([p, m, v], g, step, decays) {
    const { learningRate: lr, beta1, beta2, eps, weightDecay } = ADAMW;
    m.assign(tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1)));
    v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2)));
    const update = tf.div(tf.mul(m, lr / (1 - beta1 ** step)), tf.add(tf.sqrt(tf.mul(v, 1 / (1 - beta2 ** step))), eps));
    p.assign(tf.sub(decays ? tf.mul(p, 1 - lr * weightDecay) : p, update));
  }

  function gpt(c) {
    const { batch, length, width, heads: h, layers } = c;
    const d = width / h;
    const parameters = Object.entries(gptParameters(c)).map(([name, [shape, values]]) => ({ name, state: [tf.variable(tf.tensor(values, shape)), tf.variable(tf.zeros(shape), false), tf.variable(tf.zeros(shape), false)], decays: shape.length > 1 }));
    const p = Object.fromEntries(parameters.map(({ name, state }) => [name, state[0]]));
    const tokens = gptTokens(c);
    const ids = tf.tensor1d(tokens.ids, 'int32');
    const hot = tf.oneHot(tf.tensor1d(tokens.targets, 'int32'), c.vocabulary).toFloat();
    const { cos, sin } = rotary(length, d);
    const cosine = tf.tensor(cos, [1, 1, length, d / 2]);
    const sine = tf.tensor(sin, [1, 1, length, d / 2]);
    const mask = tf.tensor2d(causalMask(length), [length, length]);
    const norm = (x, w) => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5))), w);
    const turn = (x) => {
      const [a, b] = tf.split(x, 2, 3);
      return tf.concat([tf.sub(tf.mul(a, cosine), tf.mul(b, sine)), tf.add(tf.mul(b, cosine), tf.mul(a, sine))], 3);
    };
    const loss = () => {
      let x = tf.gather(p.table, ids);
      for (let i = 0; i < layers; i++) {
        const [q, k, v] = tf.split(tf.matMul(norm(x, p[`${i}.norm1`]), p[`${i}.qkv`]), 3, 1).map((y) => heads(tf.reshape(y, [batch, length, h, d])));
        const seen = tf.reshape(heads(attend(turn(q), turn(k), v, mask, d)), [batch * length, width]);
        x = tf.add(x, tf.matMul(seen, p[`${i}.out`]));
        const [gate, up] = tf.split(tf.matMul(norm(x, p[`${i}.norm2`]), p[`${i}.up`]), 2, 1);
        x = tf.add(x, tf.matMul(tf.mul(tf.mul(gate, tf.sigmoid(gate)), up), p[`${i}.down`]));
      }
      const logits = tf.matMul(norm(x, p.norm), p.table, false, true);
      return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), hot), -1)));
    };
    let step = 0;
    let value = 0;
    return {
      async run() {
        step++;
        const { value: l, grads } = tf.variableGrads(loss, parameters.map(({ state }) => state[0]));
        tf.tidy(() => {
          for (const { state, decays } of parameters) adamw(state, grads[state[0].name], step, decays);
        });
        value = (await l.data())[0];
        tf.dispose([l, grads]);
      },
      sync,
      result: async () => Float32Array.of(value),
      dispose: () => tf.dispose([parameters.map(({ state }) => state), ids, hot, cosine, sine, mask]),
    };
  }

  return { adapter: held.adapter, held, prepare: async (c) => prepare(c), dispose: () => held.device?.destroy() };
}
