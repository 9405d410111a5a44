// Line charts and heat maps as SVG, from columns of numbers.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 24;

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A number in three digits or so. */
export function short(value) {
  if (value === null || value === undefined || !isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return (value / 1e6).toPrecision(3) + "M";
  if (size >= 1e4) return (value / 1e3).toPrecision(3) + "k";
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value));
  if (size >= 0.01) return String(Number(value.toPrecision(3)));
  return value.toExponential(1);
}

/** Round steps between two values, about `count` of them; powers of ten where `log`. */
function ticks(low, high, count, log) {
  if (log) {
    const found = [];
    for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power++) found.push(10 ** power);
    if (found.length >= 2) {
      const every = Math.ceil(found.length / count);
      return found.filter((_, n) => n % every === 0);
    }
  }
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n++) found.push(n * step);
  return found;
}

/** Means, least and largest values of a column in so many bins of equal width along x. */
export function binned(x, y, from, to, bins) {
  const found = Array.from({ length: bins }, () => ({ sum: 0, count: 0, low: Infinity, high: -Infinity }));
  const width = (to - from) / bins || 1;
  for (let n = 0; n < x.length; n++) {
    if (!isFinite(y[n]) || y[n] === null) continue;
    const bin = found[Math.min(bins - 1, Math.floor((x[n] - from) / width))];
    bin.sum += y[n]; bin.count++;
    bin.low = Math.min(bin.low, y[n]); bin.high = Math.max(bin.high, y[n]);
  }
  return found.map((bin, n) => ({ x: from + (n + 0.5) * width, mean: bin.sum / bin.count, ...bin }))
    .filter((bin) => bin.count);
}

/**
 * A chart in a figure, drawn again with each `draw`.
 * draw({x, y, cls, log, floor, ceiling, points, limit, marks, say}): `points` are validations,
 * {x, y, best}; `limit` a level line; `marks` x of spikes; `say(x)` the words for a place.
 */
export class Chart {
  constructor(figure, title, keys) {
    this.title = title;
    this.caption = document.createElement("figcaption");
    const name = document.createElement("span"), key = document.createElement("span");
    name.textContent = title;
    key.className = "key";
    for (const [cls, words] of keys) {
      const item = document.createElement("span");
      item.append(svg("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" },
        svg("line", { x1: 0, y1: 5, x2: 24, y2: 5, class: `curve ${cls}` })), words);
      key.append(item);
    }
    this.caption.append(name, key);
    this.root = svg("svg", { class: "chart", role: "img", tabindex: "0" });
    this.output = document.createElement("output");
    figure.append(this.caption, this.root, this.output);
    this.cursor = null;
    this.root.addEventListener("pointermove", (event) => this.point(event.clientX));
    this.root.addEventListener("pointerleave", () => this.leave());
    this.root.addEventListener("blur", () => this.leave());
    this.root.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !this.data) return;
      const { from, to } = this.span, bin = (to - from) / 100 || 1;
      this.cursor = Math.min(to, Math.max(from, (this.cursor ?? to) + step * bin));
      this.mark();
      event.preventDefault();
    });
    new ResizeObserver(() => this.data && this.draw(this.data)).observe(this.root);
  }

  draw(data) {
    this.data = data;
    const width = Math.max(120, this.root.clientWidth), height = this.root.clientHeight || 220;
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.root.replaceChildren();
    if (!data.x.length) { this.root.setAttribute("aria-label", `${this.title}: nothing yet`); return; }
    const from = data.x[0], to = Math.max(data.x[data.x.length - 1], from + 1);
    this.span = { from, to };
    const bins = binned(data.x, data.y, from, to, Math.min(data.x.length, Math.floor(width / 3)));
    const values = [...bins.flatMap((bin) => [bin.low, bin.high]), ...(data.points || []).map((p) => p.y)];
    if (data.limit && data.log) values.push(data.limit);
    let low = data.floor ?? Math.min(...values), high = data.ceiling ?? Math.max(...values);
    if (data.robust) {
      // The first steps are so dear that the rest would be a flat line.
      const sorted = bins.map((bin) => bin.mean).sort((a, b) => a - b);
      high = Math.min(high, sorted[Math.floor(0.95 * (sorted.length - 1))] * 1.15);
    }
    if (data.log) { low = Math.max(low, 1e-12); high = Math.max(high, low * 1.0001); }
    if (low === high) { low -= 0.5; high += 0.5; }
    const f = data.log ? Math.log10 : (value) => value;
    const px = (x) => LEFT + (x - from) / (to - from) * (width - LEFT - RIGHT);
    const py = (y) => {
      const share = (f(Math.max(y, data.log ? 1e-12 : -Infinity)) - f(low)) / (f(high) - f(low));
      return height - BOTTOM - Math.min(1.03, Math.max(-0.03, share)) * (height - TOP - BOTTOM);
    };
    this.px = px;
    for (const value of ticks(low, high, 5, data.log)) {
      const y = py(value);
      this.root.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: "grid" }),
        svg("text", { x: LEFT - 7, y: y + 4, "text-anchor": "end" }, data.percent ? `${Math.round(value * 100)} %` : short(value)));
    }
    for (const value of ticks(from, to, Math.floor(width / 110), false)) {
      this.root.append(svg("text", { x: px(value), y: height - 6, "text-anchor": "middle" }, short(value)));
    }
    if (data.band !== false) {
      const up = bins.map((bin) => `${px(bin.x).toFixed(1)},${py(bin.high).toFixed(1)}`);
      const down = bins.map((bin) => `${px(bin.x).toFixed(1)},${py(bin.low).toFixed(1)}`).reverse();
      this.root.append(svg("polygon", { points: [...up, ...down].join(" "), class: `band ${data.cls}` }));
    }
    let smooth = null;
    const line = bins.map((bin) => {
      smooth = smooth === null ? bin.mean : 0.6 * smooth + 0.4 * bin.mean;
      return `${px(bin.x).toFixed(1)},${py(smooth).toFixed(1)}`;
    });
    this.root.append(svg("polyline", { points: line.join(" "), class: `curve ${data.cls}` }));
    if (data.limit && f(data.limit) >= f(low) && f(data.limit) <= f(high)) {
      this.root.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: py(data.limit), y2: py(data.limit), class: "limit" }));
    }
    for (const x of data.marks || []) {
      const at = px(x);
      this.root.append(svg("path", { d: `M${at - 5} ${TOP - 8} h10 l-5 9 z`, class: "spike" }));
    }
    const points = data.points || [];
    if (points.length) {
      this.root.append(svg("polyline", { class: "curve held", points: points.map((p) => `${px(p.x)},${py(p.y)}`).join(" ") }));
      for (const p of points) {
        this.root.append(svg("circle", { cx: px(p.x), cy: py(p.y), r: 4, class: p.best ? "held best" : "held" }));
      }
    }
    this.root.setAttribute("aria-label", `${this.title}. ${data.say(null)}`);
    this.line = svg("line", { y1: TOP, y2: height - BOTTOM, class: "cursor", visibility: "hidden" });
    this.root.append(this.line);
    this.mark();
  }

  point(clientX) {
    if (!this.data || !this.span) return;
    const box = this.root.getBoundingClientRect(), { from, to } = this.span;
    const share = (clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    this.cursor = Math.min(to, Math.max(from, from + share * (to - from)));
    this.mark();
  }

  leave() { this.cursor = null; this.mark(); }

  mark() {
    if (!this.line) return;
    const on = this.cursor !== null;
    this.line.setAttribute("visibility", on ? "visible" : "hidden");
    if (on) for (const name of ["x1", "x2"]) this.line.setAttribute(name, this.px(this.cursor));
    this.output.textContent = this.data.say(this.cursor);
  }
}

/**
 * One layer's heat map: a column for each look, a row for each message back.
 * columns: [{step, sizes}], each size a share of the nearest message's; edge: messages unfolded.
 */
export function heatMap(root, columns, rows, edge, label) {
  const width = Math.max(160, root.clientWidth), height = root.clientHeight || 200;
  const left = 26, bottom = 24, w = (width - left - 4) / columns.length, h = (height - bottom - 4) / rows;
  root.setAttribute("viewBox", `0 0 ${width} ${height}`);
  root.setAttribute("aria-label", label);
  root.replaceChildren();
  for (let row = 0; row < rows; row++) {
    if (rows <= 8 || row % 2 === 0) {
      root.append(svg("text", { x: left - 6, y: 4 + (row + 0.5) * h + 4, "text-anchor": "end" }, String(row + 1)));
    }
    columns.forEach((column, n) => {
      const size = column.sizes[row];
      const box = { x: left + n * w, y: 4 + row * h, width: Math.max(0.5, w - (w > 6 ? 1 : 0)), height: h - 1 };
      const known = size !== undefined && size !== null;
      // From 1 % (pale) to 100 % and more (full), by orders of magnitude.
      const depth = known && size > 0 ? Math.min(1, Math.max(0.04, 1 + Math.log10(size) / 2)) : 0;
      root.append(svg("rect", { ...box, class: "empty" }), svg("rect", { ...box, "fill-opacity": depth.toFixed(3) },
        svg("title", {}, `step ${column.step}, ${row + 1} back: ${known ? short(size * 100) + " %" : "not looked at"}`)));
    });
  }
  if (edge && edge < rows) {
    const y = 4 + edge * h;
    root.append(svg("line", { x1: left, x2: width - 4, y1: y, y2: y, class: "edge" }));
  }
  const every = Math.max(1, Math.ceil(columns.length / Math.floor(width / 90)));
  columns.forEach((column, n) => {
    if (n % every === 0) root.append(svg("text", { x: left + (n + 0.5) * w, y: height - 6, "text-anchor": "middle" }, short(column.step)));
  });
}
