// Residual recurrent layers, one step of one row at a time: runtime/layers.py in JavaScript.

const NORM_EPSILON = 1e-5;

/** A weight, (N, K), of floats, or of int8 with a scale for each row. */
class Matrix {
  constructor(arrays, name) {
    const { shape, data } = arrays[`${name}.weight`] ?? arrays[name];
    [this.N, this.K] = shape;
    this.data = data;
    this.scale = arrays[`${name}.weight.int8_scale`]?.data ?? arrays[`${name}.int8_scale`]?.data;
    this.bias = arrays[`${name}.bias`]?.data;
  }

  /** Returns weight @ x + bias, (N). Four rows at a time, so that each x is read once for them. */
  times(x, bias = this.bias) {
    const { N, K, data, scale } = this, out = new Float32Array(N);
    x = Float64Array.from(x); // so that each number is widened once
    for (let n = 0; n < N; n += 4) {
      const p = n * K, q = Math.min(n + 1, N - 1) * K, r = Math.min(n + 2, N - 1) * K, s = Math.min(n + 3, N - 1) * K;
      let a = 0, b = 0, c = 0, d = 0;
      for (let k = 0; k < K; k++) {
        const y = x[k];
        a += data[p + k] * y;
        b += data[q + k] * y;
        c += data[r + k] * y;
        d += data[s + k] * y;
      }
      const sums = [a, b, c, d];
      for (let m = n; m < Math.min(n + 4, N); m++) out[m] = (scale ? sums[m - n] * scale[m] : sums[m - n]) + (bias ? bias[m] : 0);
    }
    return out;
  }

  row(n) {
    const found = Float32Array.from(this.data.subarray(n * this.K, (n + 1) * this.K));
    if (this.scale) for (let k = 0; k < this.K; k++) found[k] *= this.scale[n];
    return found;
  }
}

/** Normalises x to mean 0 and variance 1, then scales and shifts it. */
function norm(arrays, name, x) {
  const weight = arrays[`${name}.weight`].data, bias = arrays[`${name}.bias`].data, size = x.length;
  let mean = 0, squares = 0;
  for (let n = 0; n < size; n++) mean += x[n];
  mean /= size;
  for (let n = 0; n < size; n++) squares += (x[n] - mean) ** 2;
  const scale = 1 / Math.sqrt(squares / size + NORM_EPSILON);
  return x.map((each, n) => (each - mean) * scale * weight[n] + bias[n]);
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(0, x) + Math.log1p(Math.exp(-Math.abs(x)));

// For each cell its gates, the arrays of its state, whether h is projected, and its step: the state
// of unit u, in place, from the projections of the input and of h.
const CELLS = {
  rnn: { gates: 1, states: 1, recurrent: true, step(u, H, x, h, [own]) { own[u] = Math.tanh(x[u] + h[u]); } },
  gru: {
    gates: 3, states: 1, recurrent: true,
    step(u, H, x, h, [own]) {
      const r = sigmoid(x[u] + h[u]), z = sigmoid(x[H + u] + h[H + u]);
      const n = Math.tanh(x[2 * H + u] + r * h[2 * H + u]);
      own[u] = n + z * (own[u] - n);
    },
  },
  lstm: {
    gates: 4, states: 2, recurrent: true,
    step(u, H, x, h, [own, c]) {
      const gate = (n) => x[n * H + u] + h[n * H + u];
      c[u] = sigmoid(gate(1)) * c[u] + sigmoid(gate(0)) * Math.tanh(gate(2));
      own[u] = sigmoid(gate(3)) * Math.tanh(c[u]);
    },
  },
  mingru: {
    gates: 2, states: 1, recurrent: false,
    step(u, H, x, h, [own]) { own[u] += sigmoid(x[u]) * (x[H + u] - own[u]); },
  },
  minlstm: {
    gates: 3, states: 1, recurrent: false,
    step(u, H, x, h, [own]) {
      // f / (f + i) of their sigmoids: not as a quotient, both may be 0.
      const share = sigmoid(softplus(-x[H + u]) - softplus(-x[u])), n = x[2 * H + u];
      own[u] = n + share * (own[u] - n);
    },
  },
};

/** The stacks of a bot's layers by name; that which goes through time comes first. */
function stackShapes(model) {
  const { memory, cell, layers, mlp } = model;
  if (memory === "tokens") return { stack: { cell, layers, mlp } };
  return {
    conversation: { cell: model.conversation_cell ?? cell, layers: 1, mlp: 0 },
    encoder: { cell: model.encoder_cell ?? cell, layers: 1, mlp },
    decoder: { cell: model.decoder_cell ?? cell, layers: Math.max(1, layers - 1), mlp },
  };
}

/** Residual recurrent layers and a norm on top. */
class Stack {
  constructor(arrays, name, { cell, layers }) {
    this.arrays = arrays;
    this.name = name;
    this.cell = CELLS[cell];
    this.states = layers * this.cell.states;
    this.layers = Array.from({ length: layers }, (_, n) => {
      const own = `${name}.layers.${n}`, part = (which) => new Matrix(arrays, `${own}.${which}`);
      return {
        name: own,
        ih: part("cell.weight_ih"),
        hh: this.cell.recurrent ? part("cell.weight_hh") : null,
        up: arrays[`${own}.mlp.up.weight`] ? part("mlp.up") : null,
        down: arrays[`${own}.mlp.up.weight`] ? part("mlp.down") : null,
      };
    });
  }

  /** Returns the output of x, (H); `state`, an array of (H) each, changes in place. */
  step(x, state) {
    const { arrays, cell } = this, H = x.length;
    x = Float32Array.from(x);
    this.layers.forEach(({ name, ih, hh, up, down }, layer) => {
      const own = state.slice(layer * cell.states, (layer + 1) * cell.states);
      const gx = ih.times(norm(arrays, `${name}.norm`, x), arrays[`${name}.cell.bias_ih`].data);
      const gh = hh?.times(own[0], arrays[`${name}.cell.bias_hh`].data);
      for (let u = 0; u < H; u++) {
        cell.step(u, H, gx, gh, own);
        x[u] += own[0][u];
      }
      if (!up) return;
      const both = up.times(norm(arrays, `${name}.mlp.norm`, x));
      const wide = both.subarray(0, down.K).map((gate, n) => gate * sigmoid(gate) * both[down.K + n]);
      const told = down.times(wide);
      for (let u = 0; u < H; u++) x[u] += told[u];
    });
    return norm(arrays, `${this.name}.norm`, x);
  }
}
