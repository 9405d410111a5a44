// A short word at the top, for what has no other place.

import { announce, byId, h } from "./dom.js";
import { icon } from "./icons.js";

/** `kind`: "told", or "wrong"; it is read out once. */
export function say(text, kind = "told") {
  const close = h("button", { type: "button", class: "quiet", "aria-label": "Close this message", onclick: hush }, icon("close"));
  show(text, kind, close);
  announce(text);
}

/**
 * What only leaves with its cause; `button` does something about it. Where nothing but the text
 * changes, as in counting seconds, the button stays itself, with the focus, and nothing is read out.
 */
export function stand(text, label, action) {
  const banner = byId("banner");
  const same = banner.className === "gone" && !banner.hidden && banner.lastChild?.textContent === label;
  if (same) banner.firstChild.textContent = text;
  else show(text, "gone", h("button", { type: "button", class: "plain", onclick: action }, label));
}

function show(text, kind, button) {
  const banner = byId("banner");
  banner.className = kind;
  banner.replaceChildren(h("span", {}, text), button);
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
