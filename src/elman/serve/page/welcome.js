// What is shown before anything is said: what this is.

import { h } from "./dom.js";
import { bytes } from "./format.js";
import { emblem, icon } from "./icons.js";

/** `bot`: a model of the API, or undefined while none is known. */
export function welcome(bot) {
  const size = bot?.elman?.state_bytes ? bytes(bot.elman.state_bytes) : "a few kilobytes";
  const facts = [
    ["back", "Go back", "to any message: its state is still there."],
    ["branches", "Fork", "by asking twice, or by other words in the same place."],
    ["instead", "Teach", "by saying what the reply should have been."],
  ];
  return [
    emblem(),
    h("h1", {}, "A memory you can hold"),
    h("p", { class: "lead" }, h("b", { dir: "auto" }, bot?.id ?? "This bot"), " is a small recurrent network. Its whole memory of this conversation is ", h("b", {}, size), ", however long you talk, and it never leaves this server."),
    h("ul", {}, facts.map(([drawing, what, how]) => h("li", {}, icon(drawing), h("span", {}, h("b", {}, what), ` ${how}`)))),
  ];
}
