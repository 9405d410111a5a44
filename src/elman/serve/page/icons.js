// The drawings of the page: the mark (a dot on a loop: a state that comes back) and its icons.

import { svg } from "./dom.js";

const STROKES = {
  again: "M19 12a7 7 0 1 1-2.2-5.1M19 4v4h-4",
  back: "M9 7 5 11l4 4M5 11h9a5 5 0 0 1 0 10h-3",
  branches: "M7 8v8M7 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM7 20a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM17 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM17 8c0 5-10 3-10 8",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h10v10H9zM15 9V5H5v10h4",
  down: "M12 5v14M6 13l6 6 6-6",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  edit: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  instead: "M5 5h14v10h-8l-4 4v-4H5zM9 10h6",
  key: "M14 10a4 4 0 1 0-3.5 4L12 12.5h2V11zM13 11l7 7v2h-3l-1-2-2-1-1-2",
  keyboard: "M3 7h18v10H3zM7 10.5h.01M11 10.5h.01M15 10.5h.01M8 14h8",
  left: "M14 6l-6 6 6 6",
  menu: "M5 7h14M5 12h14M5 17h9",
  moon: "M19 14.5A7.5 7.5 0 1 1 9.5 5a6 6 0 0 0 9.5 9.5z",
  others: "M8 7h12M8 12h12M8 17h12M4 7h.01M4 12h.01M4 17h.01",
  plus: "M12 5v14M5 12h14",
  right: "M10 6l6 6-6 6",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M5.6 18.4l1.1-1.1M17.3 6.7l1.1-1.1",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  up: "M7 11v9H4v-9zM7 11l4-7c1.5 0 2.5 1 2.2 2.6L12.6 10H18a2 2 0 0 1 2 2.4l-1.2 6A2 2 0 0 1 16.8 20H7",
  why: "M9.5 9.5a2.6 2.6 0 1 1 3.6 2.4c-.8.4-1.1.9-1.1 1.9M12 17h.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
};

export function icon(name) {
  const turned = name === "worse";
  return svg(
    "svg",
    { class: turned ? "icon turned" : "icon", viewBox: "0 0 24 24", "aria-hidden": "true" },
    svg("path", { d: STROKES[turned ? "up" : name] }),
  );
}

/** The dot stands still, or goes round while a reply is made (`.turning`, in the style sheet). */
export function mark(kind = "mark") {
  return svg(
    "svg",
    { class: kind, viewBox: "0 0 32 32", "aria-hidden": "true" },
    svg("g", { class: "orbit" },
      svg("path", { class: "loop", d: "M9.4 24.6A11.5 11.5 0 1 1 22.6 24.6" }),
      svg("circle", { class: "dot", cx: 16, cy: 26.6, r: 4 })),
  );
}

/** The same, large: the thread of a conversation goes through the state, which comes back to itself. */
export function emblem() {
  return svg(
    "svg",
    { class: "emblem", viewBox: "0 0 240 92", "aria-hidden": "true" },
    svg("path", { class: "way", d: "M4 70H104M136 70H232" }),
    svg("path", { class: "way", d: "M226 64.5l6 5.5-6 5.5" }),
    svg("circle", { class: "word", cx: 30, cy: 70, r: 5 }),
    svg("circle", { class: "word", cx: 68, cy: 70, r: 5 }),
    svg("path", { class: "loop", d: "M104.5 58.5A27 27 0 1 1 135.5 58.5" }),
    svg("path", { class: "loop", d: "M137.3 49.8l-1.800 8.700 8.600 1.700" }),
    svg("circle", { class: "dot", cx: 120, cy: 70, r: 9 }),
  );
}
