"use strict";
// The unfolded network as a drawing that fits its box, the curve of the losses, the tables.
const digits = (value) => {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (!Number.isFinite(value)) return "not a number";
  const text = size < 1e-4 || size >= 1e5 ? value.toExponential(2).replace("e+", "e")
    : value.toFixed(4);
  return text.replaceAll("-", "−");
};
const shortened = (text, most) => text.length <= most ? text : text.slice(0, most - 1) + "…";
const CELL_HEIGHT = 17, STACK_GAP = 30, BARS_HEIGHT = 90, WIDEST_ARROW = 15;

function unfolded(seen, settings, width) {
  const T = seen.steps.length, column = width / T, wide = Math.min(64, column - 20);
  const middle = (t) => column * (t + 0.5), parts = [];
  const stacks = CELLS[settings.cell].states, top = 92;
  const size = seen.steps[0].after[0].length, stackHeight = size * CELL_HEIGHT;
  const stackTop = (n) => top + n * (stackHeight + STACK_GAP);
  const stateEnd = stackTop(stacks - 1) + stackHeight, bars = stateEnd + 44 + BARS_HEIGHT;
  const norms = seen.parts.map((part) => ({ direct: norm(part.direct),
    indirect: part.indirect.map(norm), lost: part.lost.map(norm) }));
  const most = Math.max(1e-300, ...norms.flatMap((n) => [n.direct, ...n.indirect]));
  const arrowWidth = (value) => 1.2 + WIDEST_ARROW * value / most;
  const counted = (t) => settings.losses === "all" || t === T - 1;
  parts.push(words(0, 10, "loss", "unit", "start"));
  parts.push(words(0, stateEnd + 28, "length of dL/dh, direct and indirect", "unit", "start"));
  seen.steps.forEach((step, t) => {
    const x = middle(t), { direct, indirect, lost } = norms[t];
    parts.push(words(x, 28, counted(t) ? number(step.loss) : "–", "num strong"));
    if (direct) parts.push(arrow(x, 38, x, top - 22, arrowWidth(direct), "direct"));
    step.after.forEach((values, n) => {
      const y = stackTop(n);
      parts.push(words(x, y - 9, `${"hc"[n]}${t + 1}`, "unit"));
      values.forEach((value, u) => parts.push(
        rect(x - wide / 2, y + u * CELL_HEIGHT, wide, CELL_HEIGHT, "back"),
        rect(x - wide / 2, y + u * CELL_HEIGHT, wide, CELL_HEIGHT, value < 0 ? "neg" : "pos",
          { "fill-opacity": Math.min(0.75, 0.75 * Math.abs(value)) })));
      const between = [x + column - wide / 2 - 2, x + wide / 2 + 2], level = y + stackHeight / 2;
      if (t + 1 < T && indirect[n])
        parts.push(arrow(between[0], level, between[1], level, arrowWidth(indirect[n]),
          "indirect"));
      if (lost[n])
        parts.push(arrow(x - wide / 2 - 2, level, x - column / 2, level, arrowWidth(lost[n]),
          "indirect lost", false));
    });
    const edge = x - column / 2, cut = t > 0 && t % settings.unfold === 0;
    if (settings.resets[t]) parts.push(line(edge, top - 16, edge, stateEnd + 10, "new-start"));
    else if (cut && settings.windows === "apart")
      parts.push(line(edge, top - 16, edge, stateEnd + 10, "cut"));
    const bar = Math.min(22, column / 3), height = (value) => BARS_HEIGHT * value / most;
    parts.push(rect(x - bar - 1, bars - height(direct), bar, height(direct), "direct"),
      rect(x + 1, bars - height(indirect[0]), bar, height(indirect[0]), "indirect"),
      words(x, bars + 30, shortened(settings.messages[t], Math.floor(column / 8)), "unit"),
      words(x, bars + 13, String(t + 1), "num strong"));
  });
  parts.push(line(0, bars, width, bars, "axis"));
  const label = "Length of the gradient of each state: " + norms.map((n, t) =>
    `${t + 1}: direct ${number(n.direct)}, indirect ${number(n.indirect[0])}`).join("; ");
  return svg(width, bars + 42, label, parts, 1);
}

// The loss after each update, on a scale of its own.
function curve(history, now, width) {
  const height = 120, losses = [...history.map((one) => one.loss), now].filter(Number.isFinite);
  const most = Math.max(...losses, 1e-9), last = Math.max(1, losses.length - 1);
  const points = losses.map((loss, n) =>
    [6 + (width - 12) * n / last, height - 20 - (height - 44) * loss / most]);
  const label = `Loss by update: from ${digits(losses[0])} to ${digits(losses.at(-1))}`;
  return svg(width, height, label, [
    line(6, height - 20, width - 6, height - 20, "axis"), polyline(points, "loss-curve"),
    words(6, 10, `loss, at most ${number(most)}`, "unit", "start"),
    words(width - 6, height - 8, many(history.length, "update"), "unit", "end"),
    node("circle", { cx: points.at(-1)[0], cy: points.at(-1)[1], r: 4, class: "loss-dot" }),
  ], 1);
}

function table(caption, heads, rows) {
  const row = (kind, cells) => element("tr", {}, ...cells.map((text, n) => element(
    n && kind === "td" ? "td" : "th", { scope: kind === "th" ? "col" : "row" }, String(text))));
  const made = element("table", {}, element("caption", {}, caption),
    element("thead", {}, row("th", heads)), element("tbody", {}, ...rows.map((r) => row("td", r))));
  made.querySelectorAll("td").forEach((cell) => cell.removeAttribute("scope"));
  return made;
}

function tables(seen, settings) {
  const counted = (t) => settings.losses === "all" || t === seen.steps.length - 1;
  const vector = (values) => values.map((value) => number(value)).join(" ");
  const gradients = table("Lengths of the parts of each state's gradient",
    ["step", "direct", "indirect", "sum", "cut off"],
    seen.parts.map(({ direct, indirect, lost }, t) => [t + 1, digits(norm(direct)),
      digits(norm(indirect[0])), digits(norm(plus(direct, indirect[0]))), digits(norm(lost[0]))]));
  const made = [gradients];
  if (CELLS[settings.cell].states === 2)
    made.push(table("Of the LSTM's cell c, which no loss reads itself",
      ["step", "indirect", "cut off"],
      seen.parts.map(({ indirect, lost }, t) =>
        [t + 1, digits(norm(indirect[1])), digits(norm(lost[1]))])));
  made.push(table("Forward", ["step", "loss", "p(next)", "h"], seen.steps.map((step, t) =>
    [t + 1, counted(t) ? digits(step.loss) : "–", digits(step.p[settings.targets[t]]),
      vector(step.after[0])])));
  return made;
}
