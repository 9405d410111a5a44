"use strict";
// The cells on plain arrays, gates in torch's order: `step` and `back` are those of elman.bptt.
const dot = (a, b) => a.reduce((total, value, i) => total + value * b[i], 0);
const plus = (a, b) => a.map((value, i) => value + b[i]);
const product = (matrix, vector) => matrix.map((row) => dot(row, vector));
const productOfTransposed = (matrix, vector) =>
  matrix[0].map((_, j) => dot(matrix.map((row) => row[j]), vector));
const outer = (a, b) => a.map((x) => b.map((y) => x * y));
const zeros = (size) => new Array(size).fill(0);
const sigmoid = (a) => 1 / (1 + Math.exp(-a));
const blocks = (values, count) => { // one block of rows for each gate
  const size = values.length / count;
  return Array.from({ length: count }, (_, n) => values.slice(n * size, (n + 1) * size));
};

// step: what the input and the state before give -> the state after, and what `back` needs.
// back: d of the state after -> d of both, and of the state before where it goes past the weights.
const CELLS = {
  rnn: {
    states: 1,
    step(gx, gh) {
      const h = plus(gx, gh).map(Math.tanh);
      return { after: [h], saved: h };
    },
    back(h, [dh]) {
      const da = dh.map((d, u) => d * (1 - h[u] * h[u]));
      return { dgx: da, dgh: da, past: [zeros(h.length)] };
    },
  },
  gru: {
    states: 1,
    step(gx, gh, [before]) {
      const [xr, xz, xn] = blocks(gx, 3), [hr, hz, hn] = blocks(gh, 3);
      const r = plus(xr, hr).map(sigmoid), z = plus(xz, hz).map(sigmoid);
      const n = xn.map((value, u) => Math.tanh(value + r[u] * hn[u]));
      const h = n.map((value, u) => (1 - z[u]) * value + z[u] * before[u]);
      return { after: [h], saved: { r, z, n, hn, before } };
    },
    back({ r, z, n, hn, before }, [dh]) {
      const dn = dh.map((d, u) => d * (1 - z[u]) * (1 - n[u] * n[u]));
      const dr = dn.map((d, u) => d * hn[u] * r[u] * (1 - r[u]));
      const dz = dh.map((d, u) => d * (before[u] - n[u]) * z[u] * (1 - z[u]));
      return {
        dgx: [...dr, ...dz, ...dn],
        dgh: [...dr, ...dz, ...dn.map((d, u) => d * r[u])],
        past: [dh.map((d, u) => d * z[u])],
      };
    },
  },
  lstm: {
    states: 2,
    step(gx, gh, [, before]) {
      const [ai, af, ag, ao] = blocks(plus(gx, gh), 4);
      const [i, f, g, o] = [ai.map(sigmoid), af.map(sigmoid), ag.map(Math.tanh), ao.map(sigmoid)];
      const c = g.map((value, u) => f[u] * before[u] + i[u] * value), tanhC = c.map(Math.tanh);
      return { after: [o.map((value, u) => value * tanhC[u]), c],
        saved: { i, f, g, o, before, tanhC } };
    },
    back({ i, f, g, o, before, tanhC }, [dh, dcLater]) {
      const dc = dcLater.map((d, u) => d + dh[u] * o[u] * (1 - tanhC[u] * tanhC[u]));
      const da = [
        ...dc.map((d, u) => d * g[u] * i[u] * (1 - i[u])),
        ...dc.map((d, u) => d * before[u] * f[u] * (1 - f[u])),
        ...dc.map((d, u) => d * i[u] * (1 - g[u] * g[u])),
        ...dh.map((d, u) => d * tanhC[u] * o[u] * (1 - o[u])),
      ];
      return { dgx: da, dgh: da, past: [zeros(dh.length), dc.map((d, u) => d * f[u])] };
    },
  },
};
