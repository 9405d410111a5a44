"use strict";
// Gradient by layer and lag, truncation, gates, and the runs side by side.
function heat(rows, names, label, marks, unit) {
  const count = rows.length, layers = names.length, left = 92, cell = Math.max(12, Math.min(46, 1080 / count));
  const all = rows.flat().filter((v) => v > 0), high = Math.max(...all), low = Math.max(Math.min(...all), high * 1e-6);
  const depth = (v) => v > 0 ? Math.max(0.04, 1 - Math.log(high / Math.max(v, low)) / Math.max(1e-9, Math.log(high / low))) : 0;
  const body = [], top = 34, high_ = 44;
  names.forEach((name, l) => {
    const y = top + (layers - 1 - l) * high_;
    body.push(words(left - 10, y + high_ / 2, name, "label small", "end"));
    rows.forEach((values, k) => body.push(node("g", {}, tip(`${name}, ${k + 1} ${unit} back: ${number(values[l])}`),
      rect(left + k * cell, y, cell, high_, "back"), rect(left + k * cell, y, cell, high_, "indirect", { "fill-opacity": depth(values[l]).toFixed(3) }),
      ...(cell >= 40 ? [words(left + (k + 0.5) * cell, y + high_ / 2, brief(values[l]), `num heat${depth(values[l]) > 0.55 ? " on" : ""}`)] : []))));
  });
  const foot = top + layers * high_, every = Math.ceil(34 / cell);
  rows.forEach((_, k) => { if ((k + 1) % every === 0 || k === 0) body.push(words(left + (k + 0.5) * cell, foot + 14, String(k + 1), "tick")); });
  body.push(words(left + count * cell / 2, foot + 34, `${unit} back`, "unit"));
  let row = 0;
  for (const [at, text] of marks) {
    if (at <= 0 || at > count + 0.5) continue;
    const x = left + at * cell, near = x > left + count * cell * 0.72;
    body.push(line(x, top - 16, x, foot + 4, "mark"), words(x + (near ? -6 : 6), top - 8 - row * 16, text, "mark-text", near ? "end" : "start"));
    row = 1 - row;
  }
  return svg(left + count * cell + 12, foot + 46, label, body, 640);
}
function logChart(series, { width = 560, height = 250, label, x, y, marks = [], floor = 1e-4, linear = false, cap = Infinity, all = [] }) {
  const left = 62, right = width - 14, top = 16, foot = height - 44;
  const points = [...all, ...series.flatMap((s) => s.values)].filter((v) => v !== null && isFinite(v) && (linear || v > 0));
  const high = Math.min(cap, Math.max(...points, 1e-12)), low = linear ? Math.min(0, ...points) : Math.max(Math.min(...points), high * floor);
  const longest = Math.max(...series.map((s) => s.values.length));
  const px = (k) => left + (right - left) * (longest > 1 ? k / (longest - 1) : 0.5);
  const py = (v) => linear ? foot - (foot - top) * (Math.min(v, high) - low) / Math.max(1e-12, high - low)
    : foot - (foot - top) * Math.log(Math.max(v, low) / low) / Math.max(1e-9, Math.log(high / low));
  const body = [line(left, foot, right, foot, "axis")];
  for (const v of linear ? [0, high / 2, high] : ticks(low, high)) body.push(line(left, py(v), right, py(v), "axis"),
    words(left - 7, py(v), number(v), "tick", "end"));
  const from = series[0].from ?? 1, step = series[0].step ?? 1;
  const every = Math.max(step, round(longest * step / 8));
  for (let v = from; from === 1 ? v <= longest : v < from + longest * step; v = from === 1 && v === 1 && every > 1 ? every : v + every)
    body.push(words(px((v - from) / step), foot + 15, String(v), "tick"));
  body.push(words((left + right) / 2, foot + 35, x, "unit"));
  if (y) body.push(words(left, 6, y, "tick", "start"));
  for (const s of series) {
    let run = [];
    const flush = () => { if (run.length) body.push(polyline(run, s.kind)); run = []; };
    s.values.forEach((v, k) => { if (v !== null && isFinite(v) && (linear || v >= low)) run.push([px(k), py(v)]); else flush(); });
    flush();
    if (s.end) body.push(words(right, top + 30, s.end, "bad", "end"));
  }
  for (const [at, text] of marks) { const m = px(at - from); if (at >= from && at <= longest) body.push(line(m, top, m, foot, "mark"), words(m + 6, top + 8, text, "mark-text", "start")); }
  return svg(width, height, label, body, Math.min(width, 340));
}
function lagsOf(seen) {
  const box = document.getElementById("lags"), own = seen.lags;
  if (!own) { box.closest("section").hidden = true; return; }
  const reach = [own.reach, own.or_more ? `99 % within ${own.reach} or more` : `99 % within ${own.reach}`];
  const marks = [reach, [seen.unfold.messages, `unfolded over ${seen.unfold.count} ${seen.unfold.unit}`]];
  const scroll = (drawing, label) => element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, drawing);
  box.append(scroll(heat(own.messages, seen.layers, "Norm of the gradient of h by layer and messages back", marks, "messages"), "Gradient by messages back"));
  if (own.tokens) {
    box.append(element("h3", {}, "The same, token by token"));
    const many_ = own.tokens.length, chart = seen.layers.map((_, l) => ({ kind: `l${l}`, values: own.tokens.map((v) => v[l]) }));
    const marks_ = seen.unfold.unit === "tokens" && seen.unfold.count <= many_ ? [[seen.unfold.count, `unfolded over ${seen.unfold.count}`]] : [];
    box.append(scroll(logChart(chart, { width: 1180, height: 270, label: "Norm of the gradient of h by tokens back", x: "tokens back", marks: marks_ }), "Gradient by tokens back"));
    box.append(element("p", { class: "legend" }, ...seen.layers.flatMap((name, l) => [swatch(`l${l}`), ` ${name} `])));
  }
}
function swatch(kind) {
  const made = element("span", { class: "swatch" });
  const names = { l0: "indirect", l1: "direct", l2: "pos", l3: "neg", l4: "adam", l5: "sgd", a: "direct", b: "indirect" };
  made.style.background = `var(--${names[kind] || "bar"})`;
  return made;
}
function truncation(seen) {
  const box = document.getElementById("truncation"), keys = Object.keys(seen.unfoldings || {});
  if (!keys.length) { box.closest("figure").hidden = true; return; }
  const left = 150, room = 330, body = keys.map((key, k) => {
    const lost = seen.unfoldings[key].share, y = 8 + k * 34;
    return node("g", {}, words(left - 10, y + 13, many(Number(key), "message"), "label", "end"),
      rect(left, y, room * (1 - lost), 26, "kept"), rect(left + room * (1 - lost), y, room * lost, 26, "lost-bar"),
      words(left + room + 10, y + 13, `${percent(lost)} cut off`, "num strong", "start"));
  });
  box.append(svg(620, 16 + keys.length * 34, "How much of the gradient a truncation cuts off", body, 340));
}
function gatesOf(seen) {
  const box = document.getElementById("gates");
  if (!seen.units.length) { box.closest("section").hidden = true; return; }
  seen.units.forEach((own, l) => {
    const holds = own.hold, name = seen.layers[l], unit = seen.step_unit === "messages" ? "message" : "token";
    const words_ = [];
    if (holds) {
      const sorted = [...holds].sort((a, b) => a - b), half = sorted[Math.floor(sorted.length / 2)];
      words_.push(`Half of its ${holds.length} units keep what they hold for less than ${number(half)} ${unit}s; the most patient for ${number(sorted.at(-1))}.`);
    } else words_.push("Its cell has no gate that holds anything.");
    words_.push(own.dead.length ? `${many(own.dead.length, "unit")} never move${own.dead.length === 1 ? "s" : ""}.` : "No unit is dead.");
    const stuck = Object.entries(own.stuck).filter(([, [a, b]]) => a + b).map(([gate, [a, b]]) => `${gate}: ${a} always shut, ${b} always open`);
    words_.push(stuck.length ? `Stuck gates: ${stuck.join("; ")}.` : Object.keys(own.gates).length ? "No gate is stuck." : "");
    box.append(element("h3", {}, name.charAt(0).toUpperCase() + name.slice(1)), element("p", {}, words_.join(" ")));
    const row = element("div", { class: "split" });
    if (holds) row.append(element("figure", {}, element("figcaption", {}, "How long units hold (time constant, e-fold)"), histogram(holds, `${unit}s`)));
    if (Object.keys(own.gates).length) row.append(element("figure", {}, element("figcaption", {}, "Gates: how often each unit's is shut, and open"), saturation(own.gates, name)));
    if (own.longest.length) row.append(element("figure", {}, element("figcaption", {}, "What the most patient units hold, over this conversation"), held(own)));
    box.append(row);
  });
}
function histogram(values, unit) {
  const low = Math.log10(0.1), high = Math.max(2, Math.ceil(Math.log10(Math.max(...values)))), bins = 30, counts = Array(bins).fill(0);
  for (const v of values) counts[Math.min(bins - 1, Math.max(0, Math.floor((Math.log10(v) - low) / (high - low) * bins)))]++;
  const top = Math.max(...counts), left = 36, width = 400, foot = 180, room = width - left - 8, body = [];
  counts.forEach((c, b) => body.push(node("g", {}, tip(`${c} units`), rect(left + room * b / bins + 1, foot - 150 * c / top, room / bins - 2, 150 * c / top, "indirect"))));
  for (let p = -1; p <= high; p++) body.push(words(left + room * (p - low) / (high - low), foot + 14, number(10 ** p), "tick"));
  body.push(line(left, foot, width - 8, foot, "axis"), words(left - 5, 32, String(top), "tick", "end"), words((left + width) / 2, foot + 34, unit, "unit"));
  return svg(width, foot + 46, `Time constants of ${values.length} units in ${unit}`, body, 300);
}
function saturation(gates, layer) {
  const width = 400, left = 46, room = 300, body = [], names = Object.keys(gates), colors = ["fill-l0", "fill-l1", "fill-l2"];
  body.push(line(left, 10, left, 10 + room * 0.6, "axis"), line(left, 10 + room * 0.6, left + room, 10 + room * 0.6, "axis"),
    line(left, 10, left + room, 10 + room * 0.6, "axis"));
  names.forEach((name, g) => {
    gates[name].forEach(([shut, open]) => body.push(node("circle", { cx: (left + room * open).toFixed(1), cy: (10 + room * 0.6 * (1 - shut)).toFixed(1), r: 2.6, class: colors[g], "fill-opacity": 0.5 })));
    body.push(rect(left + room - 74, 14 + g * 20, 12, 12, colors[g]), words(left + room - 56, 21 + g * 20, name, "tick", "start"));
  });
  for (const v of [0, 0.5, 1]) body.push(words(left + room * v, 24 + room * 0.6, percent(v), "tick"), words(left - 5, 10 + room * 0.6 * (1 - v), percent(v), "tick", "end"));
  body.push(words(left + room / 2, 46 + room * 0.6, "→ open (above 0.9)   ↑ shut (below 0.1)", "unit"));
  return svg(width, 60 + room * 0.6, `Saturation of the gates of ${layer}`, body, 300);
}
function held(own) {
  const width = 420, left = 8, room = width - 150, row = 34, body = [];
  own.longest.forEach((unit, k) => {
    const values = own.kept.map((v) => v[k]), top = Math.max(1e-6, ...values.map(Math.abs)), middle = 18 + k * row;
    body.push(line(left, middle, left + room, middle, "axis"),
      polyline(values.map((v, t) => [left + room * t / Math.max(1, values.length - 1), middle - 14 * v / top]), `l${k % 6}`),
      words(left + room + 6, middle, `unit ${unit}: ${own.hold ? number(own.hold[unit]) : ""}`, "tick", "start"));
  });
  return svg(width, own.longest.length * row + 8, "What the units that hold longest hold at every step", body, 300);
}
function compareOf(seen) {
  const box = document.getElementById("compare");
  if (!seen.compare) { box.closest("section").hidden = true; return; }
  const cells = [...new Set(seen.compare.runs.map((r) => r.cell))], everyLag = seen.compare.runs.flatMap((r) => r.lags || []); // one scale, so that cells compare
  document.getElementById("compare-words").textContent = seen.compare.words;
  cells.forEach((cell) => {
    const runs = seen.compare.runs.filter((r) => r.cell === cell), row = element("div", { class: "three" });
    row.append(element("h3", {}, cell.toUpperCase()));
    const kind = (r) => r.clip ? "a" : "b", every = runs[0].every;
    const chart = (title, values, options) => row.append(element("figure", {}, element("figcaption", {}, title),
      logChart(runs.map((r) => ({ kind: kind(r), values: values(r), from: options.from ?? 1, step: options.step ?? 1, end: options.ends && r.ended ? r.ended : null })),
        { width: 420, height: 210, label: `${cell}: ${title}`, ...options })));
    chart("Loss", (r) => r.loss, { x: "step", linear: true, cap: 2 * runs[0].loss[0], step: every, ends: true });
    chart("Norm of the gradient before clipping", (r) => r.norm, { x: "step", step: every, floor: 1e-30, ends: true });
    chart("Gradient by messages back, of the trained network", (r) => r.lags || [], { x: "messages back", floor: 1e-9, all: everyLag });
    box.append(row);
  });
  box.append(element("p", { class: "legend" }, swatch("a"), " clipped ", swatch("b"), " not clipped (dashed)"));
}
function tableOf(seen) {
  const head = element("tr"), body = element("tbody"), pointing = seen.messages[0].pointer !== undefined;
  for (const name of ["message", "who", "text", "loss", "direct", "indirect", "gradient", ...(pointing ? ["through the pointer"] : [])]) head.append(element("th", { scope: "col" }, name));
  seen.messages.forEach((m, n) => {
    const row = element("tr"), all = (v) => v ? v.map(number).join(", ") : "–";
    for (const cell of [String(n + 1 + seen.skipped), who(m), m.text.slice(0, 60), m.counts ? number(m.nats) : "–", all(m.direct), all(m.indirect), all(m.gradient), ...(pointing ? [number(m.pointer)] : [])]) row.append(element("td", {}, cell));
    body.append(row);
  });
  document.getElementById("numbers").append(element("table", {}, element("thead", {}, head), body));
}
const seen = JSON.parse(document.getElementById("seen").textContent);
network(seen); lagsOf(seen); truncation(seen); gatesOf(seen); compareOf(seen); tableOf(seen);
