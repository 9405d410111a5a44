"use strict";
// What the reader chose, the net that learns, and how both become settings of lab_learning.js.
const START = JSON.parse(document.getElementById("lab-start").textContent);
const MAX_UPDATES = 5000;
const freshWish = () => ({
  cell: START.cell, unfold: START.unfold, windows: "apart", losses: "all", clip: 1,
  optimizer: "sgd", lr: 0.1, weights: "drawn", messages: [...START.messages],
  resets: START.messages.map(() => false),
});
const RESTARTS = ["cell", "weights", "messages"]; // others change how it learns, not what it is

const lab = { wish: freshWish(), net: null, history: [] };

// Each message that differs is a symbol; the last symbol is the end of a conversation.
function symbolsOf(messages) {
  const texts = [...new Set(messages)];
  return { texts, ids: messages.map((text) => texts.indexOf(text)), end: texts.length };
}

function settingsOf(wish) {
  const { ids, end } = symbolsOf(wish.messages), resets = wish.messages.map((_, t) =>
    t > 0 && wish.resets[t]);
  const targets = ids.map((_, t) => t + 1 === ids.length || resets[t + 1] ? end : ids[t + 1]);
  return { ...wish, ids, targets, resets };
}

// The weights of the symbols that are in use: the first ones, and the end.
function weightsOf(wish) {
  const all = START.weights[wish.weights][wish.cell], { end } = symbolsOf(wish.messages);
  const used = (row) => [...row.slice(0, end), row[row.length - 1]];
  return { ...all, weight_ih: all.weight_ih.map(used), weight_out: used(all.weight_out),
    bias_out: used(all.bias_out) };
}

function restart() {
  lab.net = newNet(weightsOf(lab.wish));
  lab.history = [];
}

function choose(changes) {
  Object.assign(lab.wish, changes);
  lab.wish.unfold = Math.max(1, Math.min(lab.wish.messages.length, lab.wish.unfold));
  if (Object.keys(changes).some((name) => RESTARTS.includes(name))) restart();
  else if ("optimizer" in changes) // what Adam remembers is of its own steps alone
    lab.net = { ...newNet(lab.net.weights), updates: 0 };
}

const see = () => lookAt(lab.net, settingsOf(lab.wish));
const sound = (seen) => Number.isFinite(seen.loss) && Number.isFinite(seen.norm);

// Train for some updates; false where a number is no longer finite.
function train(updates) {
  const settings = settingsOf(lab.wish);
  for (let n = 0; n < updates; n++) {
    const seen = lookAt(lab.net, settings);
    if (!sound(seen)) return false;
    if (lab.history.length >= MAX_UPDATES) return true;
    lab.history.push({ loss: seen.loss, norm: seen.norm });
    lab.net = learn(lab.net, settings);
  }
  return sound(see());
}
