"use strict";
// Predict which message's gradient grows most, then see. Begins the page.
const CHANGES = {
  train: () => train(20),
  one: () => choose({ unfold: 1 }),
  all: () => choose({ unfold: lab.wish.messages.length }),
  last: () => choose({ losses: "last" }),
  double: () => {
    const { weights } = lab.net;
    lab.net = { ...lab.net,
      weights: { ...weights, weight_hh: eachNumber((w) => 2 * w, weights.weight_hh) } };
  },
};
const lengths = () => see().parts.map((part) => norm(plus(part.direct, part.indirect[0])));
const growth = (before, after) => before ? after / before : after ? Infinity : 1;

function showSteps() { // keeps what was chosen where it is still there
  const list = byId("guess"), chosen = Number(list.value) || 0;
  list.replaceChildren(...lab.wish.messages.map((text, t) =>
    element("option", { value: t }, `${t + 1}: ${shortened(text, 20)}`)));
  list.value = String(Math.min(chosen, lab.wish.messages.length - 1));
}

function predict() {
  stop();
  const guess = Number(byId("guess").value), before = lengths();
  CHANGES[byId("change").value]();
  const after = lengths(), grown = before.map((value, t) => growth(value, after[t]));
  show();
  if (!grown.every((by) => by === Infinity || Number.isFinite(by))) {
    tell("After that the gradient is no longer a finite number.", "verdict");
    return;
  }
  const most = Math.max(...grown), best = grown.indexOf(most);
  const by = (t) => grown[t] === Infinity ? "from nothing" : `times ${number(grown[t])}`;
  const verdict = most <= 1 + 1e-9 ? `None grew; that of message ${best + 1} kept most, ${by(best)}.`
    : `That of message ${best + 1} grew most: ${by(best)}.`;
  const right = Math.abs(grown[guess] - most) <= 1e-9 * most || grown[guess] === most;
  tell(`${right ? "Yes." : `Not message ${guess + 1}: ${by(guess)}.`} ${verdict}`, "verdict");
  byId("result").replaceChildren(table("Length of each state's gradient",
    ["step", "before", "after", "grew"],
    before.map((value, t) => [t + 1, digits(value), digits(after[t]), by(t)])));
}

byId("predict").addEventListener("click", predict);
wire();
box.hidden = false;
setUp({});
let drawnWidth = byId("drawing").clientWidth;
new ResizeObserver(() => {
  const width = byId("drawing").clientWidth;
  if (width !== drawnWidth) show();
  drawnWidth = width;
}).observe(byId("drawing"));
