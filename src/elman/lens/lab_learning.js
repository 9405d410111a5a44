"use strict";
// One step of learning: forward, backward through time, clipping, the update.
// settings: cell, unfold (K), windows ("apart" or "sliding"), losses ("all" or "last"),
// clip (0: none), optimizer ("sgd" or "adam"), lr, ids, targets, resets (one for each message).
const BETAS = [0.9, 0.999], EPS = 1e-8;

// A function of each number of some sets of weights, which all have the same shapes.
const eachNumber = (compute, first, ...others) => Array.isArray(first)
  ? first.map((part, i) => eachNumber(compute, part, ...others.map((other) => other[i])))
  : compute(first, ...others);
const eachWeight = (compute, first, ...others) => Object.fromEntries(Object.keys(first).map(
  (name) => [name, eachNumber(compute, first[name], ...others.map((other) => other[name]))]));
const normOf = (weights) => norm(Object.values(weights).flat(2));

const empty = (settings, size) =>
  Array.from({ length: CELLS[settings.cell].states }, () => zeros(size));
function softmax(logits) {
  const most = Math.max(...logits), e = logits.map((logit) => Math.exp(logit - most));
  const total = sum(e);
  return e.map((value) => value / total);
}

function forward(weights, settings) {
  let state = empty(settings, weights.weight_hh[0].length);
  return settings.ids.map((id, t) => {
    if (settings.resets[t]) state = state.map((part) => zeros(part.length));
    const before = state;
    const gx = weights.weight_ih.map((row, i) => row[id] + weights.bias_ih[i]);
    const gh = plus(product(weights.weight_hh, before[0]), weights.bias_hh);
    const { after, saved } = CELLS[settings.cell].step(gx, gh, before);
    const p = softmax(plus(product(weights.weight_out, after[0]), weights.bias_out));
    state = after;
    return { before, after, saved, p, loss: -Math.log(p[settings.targets[t]]) };
  });
}

// Which steps are walked back together, and whose losses count on the way.
function windowsOf({ ids, unfold, windows, losses }) {
  const last = ids.length - 1, counts = (t) => losses === "all" || t === last;
  if (windows === "sliding")
    return ids.map((_, t) => t).filter(counts).map((to) =>
      ({ from: Math.max(0, to - unfold + 1), to, counts: (t) => t === to }));
  return ids.map((_, t) => t).filter((t) => t % unfold === 0).map((from) =>
    ({ from, to: Math.min(last, from + unfold - 1), counts }));
}

// For each step: `direct`, of its own loss; `indirect`, of later losses, for each part of the
// state; `lost`, what it would hand back and a cut throws away.
function backward(weights, steps, settings) {
  const size = weights.weight_hh[0].length, cell = CELLS[settings.cell];
  const parts = steps.map(() => ({ direct: zeros(size), indirect: empty(settings, size),
    lost: empty(settings, size) }));
  const gradient = eachWeight(() => 0, weights);
  const add = (name, values) => {
    gradient[name] = eachNumber((a, b) => a + b, gradient[name], values);
  };
  let walked = 0;
  for (const { from, to, counts } of windowsOf(settings)) {
    let arriving = empty(settings, size);
    for (let t = to; t >= from; t--) {
      const now = steps[t], part = parts[t];
      const dlogits = now.p.map((p, v) => counts(t) ? p - (v === settings.targets[t]) : 0);
      const direct = productOfTransposed(weights.weight_out, dlogits);
      const dafter = [plus(direct, arriving[0]), ...arriving.slice(1)];
      const { dgx, dgh, past } = cell.back(now.saved, dafter);
      past[0] = plus(past[0], productOfTransposed(weights.weight_hh, dgh));
      part.direct = plus(part.direct, direct);
      part.indirect = part.indirect.map((values, n) => plus(values, arriving[n]));
      add("weight_out", outer(dlogits, now.after[0]));
      add("bias_out", dlogits);
      for (let i = 0; i < dgx.length; i++) gradient.weight_ih[i][settings.ids[t]] += dgx[i];
      add("bias_ih", dgx);
      add("weight_hh", outer(dgh, now.before[0]));
      add("bias_hh", dgh);
      walked += 1;
      // At a reset there was no state before: nothing is handed back, and nothing is lost.
      if (settings.resets[t] || t === 0) arriving = empty(settings, size);
      else if (t === from) part.lost = part.lost.map((values, n) => plus(values, past[n]));
      else arriving = past;
    }
  }
  return { parts, gradient, walked };
}

const newNet = (weights) => ({ weights, updates: 0, first: eachWeight(() => 0, weights),
  second: eachWeight(() => 0, weights) });

function lookAt(net, settings) {
  const steps = forward(net.weights, settings);
  const { parts, gradient, walked } = backward(net.weights, steps, settings);
  const counted = settings.losses === "all" ? steps : steps.slice(-1);
  const length = normOf(gradient);
  const scale = settings.clip && length > settings.clip ? settings.clip / length : 1;
  return { steps, parts, gradient, walked, norm: length, scale,
    loss: sum(counted.map((step) => step.loss)) };
}

// The net after one update; the one that was given stays as it is.
function learn(net, settings) {
  const { gradient, scale } = lookAt(net, settings);
  const clipped = eachWeight((g) => g * scale, gradient), { lr } = settings;
  if (settings.optimizer === "sgd")
    return { ...net, updates: net.updates + 1,
      weights: eachWeight((w, g) => w - lr * g, net.weights, clipped) };
  const updates = net.updates + 1, [b1, b2] = BETAS;
  const first = eachWeight((m, g) => b1 * m + (1 - b1) * g, net.first, clipped);
  const second = eachWeight((v, g) => b2 * v + (1 - b2) * g * g, net.second, clipped);
  const weights = eachWeight((w, m, v) => w - lr * (m / (1 - b1 ** updates))
    / (Math.sqrt(v / (1 - b2 ** updates)) + EPS), net.weights, first, second);
  return { weights, updates, first, second };
}
