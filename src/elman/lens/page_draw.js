"use strict";
// Small pieces of a drawing: SVG elements, arrows as polygons, scales, words for numbers.
const SVG = "http://www.w3.org/2000/svg";
function node(kind, attributes = {}, ...inside) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  for (const part of inside) made.append(part);
  return made;
}
const rect = (x, y, width, height, kind, more = {}) => node("rect",
  { x, y, width: Math.max(0, width), height: Math.max(0, height), class: kind, ...more });
const words = (x, y, text, kind = "", anchor = "middle") =>
  node("text", { x, y, class: kind, "text-anchor": anchor }, text);
const line = (x1, y1, x2, y2, kind) => node("line", { x1, y1, x2, y2, class: kind });
const tip = (text) => node("title", {}, text);
// A level or upright arrow as one polygon, so that its head fits its width.
function arrow(x1, y1, x2, y2, width, kind, head = true) {
  const length = Math.abs(x2 - x1) + Math.abs(y2 - y1);
  const [ax, ay] = [(x2 - x1) / length, (y2 - y1) / length], [cx, cy] = [-ay, ax];
  const half = width / 2, wing = half + 5, point = head ? Math.min(length, 7 + width * 0.7) : 0;
  const outline = [[0, half], [length - point, half]];
  if (head) outline.push([length - point, wing], [length, 0], [length - point, -wing]);
  outline.push([length - point, -half], [0, -half]);
  const points = outline.map(([a, b]) =>
    `${(x1 + a * ax + b * cx).toFixed(1)},${(y1 + a * ay + b * cy).toFixed(1)}`).join(" ");
  return node("polygon", { points, class: kind });
}
const scissors = (x, y) => node("g", { class: "scissors", transform: `translate(${x} ${y})` },
  node("path", { d: "M-8 12 L7 -18 M8 12 L-7 -18" }), node("circle", { cx: -10, cy: 18, r: 6.5 }),
  node("circle", { cx: 10, cy: 18, r: 6.5 }));
const polyline = (points, kind) => node("polyline", { class: `line ${kind}`,
  points: points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") });
function svg(width, height, label, body, least = 0) {
  return node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label,
    style: `width:${width}px;min-width:${Math.min(least || width, width)}px` }, ...body);
}
function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 ? value.toExponential(0).replace("+", "") : size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1)
    : size >= 0.1 ? value.toFixed(2) : size >= 0.001 ? value.toFixed(4) : value.toExponential(0);
  return text.replace("-", "−");
}
const brief = (value) => value === null ? "–" : Number(value.toPrecision(2)).toString()
  .replace(/^0\./, ".").replace(/e-0*/, "e−");
const who = (m) => { // an account's number says nothing to a reader
  const name = m.author && !/^[0-9a-f-]{20,}$/i.test(m.author) ? m.author : m.role;
  return name.length > 18 ? name.slice(0, 17) + "…" : name;
};
const percent = (share) => share === null ? "–" : Math.abs(share) >= 0.1 || share === 0
  ? `${(100 * share).toFixed(0)} %` : `${(100 * share).toFixed(1)} %`;
const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / Math.max(1, values.length);
const norm = (values) => Math.hypot(...values);
const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
function round(step) { // the next of 1, 2, 5, 10, 20, 50 ...
  const power = 10 ** Math.floor(Math.log10(Math.max(1, step)));
  return [1, 2, 5, 10].map((k) => k * power).find((k) => k >= step) || step;
}
function element(kind, attributes = {}, ...inside) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  for (const part of inside) made.append(part);
  return made;
}
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
function painted(canvas, paint) {
  const again = () => {
    const box = canvas.getBoundingClientRect(), scale = devicePixelRatio || 1;
    if (!box.width) return;
    canvas.width = box.width * scale; canvas.height = box.height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    paint(pen, box.width, box.height);
  };
  new ResizeObserver(again).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  return again;
}
const ticks = (low, high) => { // powers of ten from low to high
  const found = [];
  for (let p = Math.ceil(Math.log10(low) - 1e-9); 10 ** p <= high * 1.001; p++) found.push(10 ** p);
  const every = Math.ceil(found.length / 7);
  return found.filter((_, n) => n % every === 0);
};
