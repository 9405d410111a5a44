// Attribution of a reply: how much each earlier message of the conversation made it likelier, in nats.

import { svg } from "./dom.js";

const LONG = 88; // pixels of the strongest

/**
 * Draws a small bar at each message that has one.
 *
 * `attribution` is [{message, nats}], `message` counting from 0 at the beginning of the conversation;
 * `elements` are the messages of the page in that order. Bars of what made the reply less likely go
 * by another colour. Gives back how many were drawn.
 */
export function attributionBars(attribution, elements) {
  const known = attribution.filter(
    ({ message, nats }) => elements[message] && Number.isFinite(nats),
  );
  const most = Math.max(...known.map(({ nats }) => Math.abs(nats)), 1e-9);
  for (const { message, nats } of known) {
    const place = elements[message].querySelector(".attribution");
    const width = Math.max(1.5, (LONG * Math.abs(nats)) / most);
    const kind = nats < 0 ? "against" : "towards";
    place.replaceChildren(
      svg(
        "svg", { width, height: 8, viewBox: `0 0 ${width} 8`, "aria-hidden": "true" },
        svg("rect", { class: kind, width, height: 8, rx: 1.5 }),
      ),
      `${nats < 0 ? "−" : "+"}${Math.abs(nats).toFixed(2)} nats`,
    );
    place.title = `This message made the reply ${kind === "against" ? "less likely" : "likelier"}.`;
    place.hidden = false;
  }
  return known.length;
}

export function clearAttribution(list) {
  for (const place of list.querySelectorAll(".attribution")) {
    place.hidden = true;
    place.replaceChildren();
  }
}
