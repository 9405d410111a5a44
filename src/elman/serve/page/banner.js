// A short word at the top, for what has no other place.

import { byId, h } from "./dom.js";
import { icon } from "./icons.js";

/** `kind`: "told", "wrong", or "gone", which only leaves with its cause; `more` are buttons. */
export function say(text, kind = "told", ...more) {
  const banner = byId("banner");
  banner.className = kind;
  banner.replaceChildren(h("span", {}, text), ...more);
  if (kind !== "gone") {
    banner.append(h("button", { type: "button", class: "quiet", "aria-label": "Close this message", onclick: hush }, icon("close")));
  }
  banner.hidden = false;
}

export function hush() {
  byId("banner").hidden = true;
  byId("banner").replaceChildren();
}

/** What was told leaves with the next thing that is done. */
export function moveOn() {
  if (byId("banner").className !== "gone") hush();
}
