// Reads the log of a run as it grows, and shows it.

import { Chart, heatMap, short, svg } from "./charts.js";

const POLL = 1000, SILENT = 60, COLUMNS = 60, KEPT = 30, WORDS = 8;
const $ = (id) => document.getElementById(id);
const charts = {
  loss: new Chart($("loss"), "Loss, bits per byte", [["train", "training"], ["held", "held out"]]),
  norm: new Chart($("norm"), "Norm of the gradient", [["norm", "before clipping"], ["limit", "train.clip"]]),
  clipped: new Chart($("clipped"), "Clipped steps", []),
  speed: new Chart($("speed"), "Speed, tokens a second", []),
};
let place, seen, run = { name: "", config: {} };
forget();

function forget() {
  place = { log: "", offset: 0 };
  seen = { step: [], bits: [], norm: [], clipped: [], speed: [], last: null, held: [], lags: [],
    samples: [], words: [], end: null, damaged: 0 };
}

function add(event) {
  seen.end = event.kind === "end" ? event : null;
  if (event.kind === "step") {
    const clip = run.config.train?.clip || 0;
    seen.step.push(event.step); seen.bits.push(event.bits_per_byte); seen.norm.push(event.grad_norm);
    seen.clipped.push(clip && event.grad_norm > clip ? 1 : 0); seen.speed.push(event.tokens_per_second);
    seen.last = event;
  } else if (event.kind === "validation") seen.held.push({ x: event.step, y: event.bits_per_byte, best: event.best });
  else if (event.kind === "lag") seen.lags.push(event);
  else if (event.kind === "samples") seen.samples.push(event);
  else if (event.kind === "warning" || event.kind === "spike") seen.words.push(event);
}

const get = async (path) => (await fetch(path, { cache: "no-store" })).json();

async function poll() {
  let more = false;
  try {
    const part = await get(`log?log=${encodeURIComponent(place.log)}&offset=${place.offset}`);
    if (part.anew) forget();
    if (part.anew || !run.name || (!run.config.train && part.events.length)) run = await get("run");
    part.events.forEach(add);
    seen.damaged += part.damaged;
    place = part.place;
    more = part.more;
    if (!more) show(part.age, part.events.length > 0 || part.anew);
  } catch {
    state("elman watch has ended: this is what it last showed", "silent");
  }
  setTimeout(poll, more ? 0 : POLL);
}

function state(words, cls) {
  const chip = $("state");
  if (chip.textContent !== words) chip.textContent = words;
  chip.className = `chip ${cls}`;
}

function show(age, changed) {
  const { last, end } = seen;
  if (end) state(end.reason, "");
  else if (!last) state("preparing: no step yet", "");
  else if (age > SILENT) state(`silent for ${minutes(age)}`, "silent");
  else state("training", "running");
  if (!changed && show.before) return;
  show.before = true;
  about();
  if (!last) return;
  $("progress").value = end ? 1 : Math.min(1, last.spent);
  numbers();
  words();
  drawCharts();
  lags();
  samples();
}

const minutes = (seconds) => seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;

function about() {
  const { model, train, data } = run.config;
  $("name").textContent = run.name || "A run";
  document.title = `${run.name} – elman watch`;
  if (!model) return;
  const budget = ["minutes", "epochs", "steps"].filter((name) => train[name]).map((name) => `${train[name]} ${name}`);
  $("about").textContent = `${model.memory} memory, ${model.layers} × ${model.cell.toUpperCase()} ${model.hidden_size}; ` +
    `${train.unfold} ${train.unit} unfolded, ${train.batch_size ?? train.lanes} in a batch, ${train.optimizer}; ${budget.join(", ")}` +
    (data?.bot ? `; plays ${data.bot}` : "");
}

function numbers() {
  const { last, held, end } = seen;
  const mean = (column, count = 50) => {
    const some = column.slice(-count).filter((v) => v !== null);
    return some.reduce((sum, v) => sum + v, 0) / some.length;
  };
  const best = held.length ? Math.min(...held.map((p) => p.y)) : null;
  const clip = run.config.train?.clip;
  tiles([
    ["Step", short(last.step), `${last.epochs?.toFixed(2) ?? "–"} passes`],
    ["Training", mean(seen.bits).toFixed(3), "bits per byte, 50 steps"],
    ["Held out, best", best === null ? "–" : best.toFixed(3), held.length ? "bits per byte" : "none yet"],
    ["Gradient’s norm", short(mean(seen.norm)), clip ? `clipped at ${clip}` : "not clipped"],
    ["Clipped", clip ? `${Math.round(100 * mean(seen.clipped, 100))} %` : "–", "of the last 100 steps"],
    ["Tokens a second", short(mean(seen.speed)), `learning rate ${short(last.lr)}`],
    [end ? "Took" : "Left", minutes(end ? end.seconds : last.left), end ? `${end.steps} steps` : `${minutes(last.seconds)} so far`],
  ]);
}

function tiles(rows) {
  $("numbers").replaceChildren(...rows.map(([name, value, note]) => {
    const box = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    const small = document.createElement("small");
    dt.textContent = name; dd.textContent = value; small.textContent = note;
    dd.append(small); box.append(dt, dd);
    return box;
  }));
}

function words() {
  const items = seen.words.slice(-WORDS).reverse().map((event) => [event.step, event.text]);
  if (seen.words.length > WORDS) items.push([null, `and ${seen.words.length - WORDS} before these`]);
  if (seen.damaged) items.push([null, `${seen.damaged} damaged lines of the log are left out`]);
  $("words").hidden = !items.length;
  $("warnings").replaceChildren(...items.map(([step, text]) => {
    const item = document.createElement("li");
    if (step !== null) {
      const bold = document.createElement("b");
      bold.textContent = `Step ${step}: `;
      item.append(bold);
    }
    item.append(text);
    return item;
  }));
}

function near(x) {
  let low = 0, high = seen.step.length - 1;
  while (low < high) { const mid = (low + high) >> 1; if (seen.step[mid] < x) low = mid + 1; else high = mid; }
  return low;
}

function drawCharts() {
  const x = seen.step, clip = run.config.train?.clip || 0, end = x.length - 1;
  const at = (cursor) => cursor === null ? end : near(cursor);
  const held = (n) => seen.held.filter((p) => p.x <= x[n]).pop();
  charts.loss.draw({ x, y: seen.bits, cls: "train", points: seen.held, robust: true, say: (c) => {
    const n = at(c), p = held(n);
    return `Step ${x[n]}: ${short(seen.bits[n])}` + (p ? `; held out ${p.y.toFixed(3)} at step ${p.x}` : "");
  } });
  const spikes = seen.words.filter((event) => event.kind === "spike").map((event) => event.step);
  charts.norm.draw({ x, y: seen.norm, cls: "norm", log: true, limit: clip, marks: spikes, say: (c) => {
    const n = at(c);
    return `Step ${x[n]}: ${short(seen.norm[n])}` + (spikes.length ? `; ${spikes.length} ${spikes.length === 1 ? "spike" : "spikes"}` : "");
  } });
  charts.clipped.draw({ x, y: seen.clipped, cls: "norm", floor: 0, ceiling: 1, band: false, percent: true, say: (c) => {
    const n = at(c), some = seen.clipped.slice(Math.max(0, n - 99), n + 1);
    const share = some.reduce((sum, v) => sum + v, 0) / some.length;
    return clip ? `Up to step ${x[n]}: ${Math.round(100 * share)} % of 100 steps` : "Clipping is off";
  } });
  charts.speed.draw({ x, y: seen.speed, cls: "speed", floor: 0, say: (c) => `Step ${x[at(c)]}: ${short(seen.speed[at(c)])}` });
}

function lags() {
  const looks = seen.lags;
  $("lag").hidden = !looks.length;
  if (!looks.length) return;
  const last = looks[looks.length - 1];
  $("reach").textContent = `${last.text[0].toUpperCase()}${last.text.slice(1)}.`;
  const every = Math.ceil(looks.length / COLUMNS), some = looks.filter((_, n) => (looks.length - 1 - n) % every === 0);
  const rows = Math.max(...some.flatMap((look) => look.layers.map((layer) => layer.length)));
  const maps = $("maps");
  while (maps.children.length < last.layers.length) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    caption.textContent = `Layer ${maps.children.length + 1}: messages back, over the steps`;
    figure.append(caption, svg("svg", { class: "map", role: "img" }));
    maps.append(figure);
  }
  while (maps.children.length > last.layers.length) maps.lastChild.remove();
  last.layers.forEach((_, layer) => {
    const columns = some.map((look) => ({
      step: look.step, sizes: look.layers[layer].map((size) => size === null ? null : size / (look.layers[layer][0] || 1)),
    }));
    const shares = columns[columns.length - 1].sizes.map((size) => `${short(size * 100)} %`).join(", ");
    heatMap(maps.children[layer].querySelector("svg"), columns, rows, last.unfold,
      `Layer ${layer + 1}: the gradient’s norm by messages back, as a share of the nearest one’s. At step ${last.step}: ${shares}`);
  });
  const table = $("lags");
  table.replaceChildren();
  const row = (kind, cells) => {
    const line = table.insertRow();
    for (const cell of cells) { const box = document.createElement(kind); box.textContent = cell; line.append(box); }
  };
  row("th", ["Messages back", ...last.layers[0].map((_, n) => n + 1)]);
  last.layers.forEach((layer, n) => row("td", [`Layer ${n + 1}`, ...layer.map(short)]));
}

function samples() {
  $("said").hidden = !seen.samples.length;
  if (!seen.samples.length || samples.shown === seen.samples.length + place.log) return;
  samples.shown = seen.samples.length + place.log;
  const bubble = (cls, text) => {
    const made = document.createElement("p");
    made.className = cls; made.textContent = text;
    return made;
  };
  const first = seen.samples[seen.samples.length - 1].samples;
  $("samples").replaceChildren(...first.map((sample, n) => {
    const box = document.createElement("div"), list = document.createElement("ol");
    box.className = "place";
    list.tabIndex = 0;
    list.setAttribute("aria-label", `Its replies in place ${n + 1}, the newest first`);
    for (const event of seen.samples.slice(-KEPT).reverse()) {
      const said = event.samples[n]?.bot;
      if (said === undefined) continue;
      const item = document.createElement("li"), step = document.createElement("small");
      step.textContent = `step ${event.step}`;
      item.append(step, bubble("bot", said));
      list.append(item);
    }
    const truth = document.createElement("small");
    truth.textContent = "what the person said";
    box.append(...sample.heard.map((text) => bubble("heard", text)), truth, bubble("person", sample.person), list);
    return box;
  }));
}

new ResizeObserver(() => seen.lags.length && lags()).observe($("maps"));
poll();
