// Questions to whoever reads the page. Each opens a dialog and gives back what was chosen in it.

import { h } from "./dom.js";
import { icon } from "./icons.js";

/** `fill(close)` gives the contents; `close(value)` ends it. Left in any other way, it is null. */
function asked(title, fill) {
  return new Promise((resolve) => {
    let value = null;
    const close = (given) => {
      value = given;
      dialog.close();
    };
    const dialog = h(
      "dialog", { "aria-labelledby": "dialog-title" },
      h("div", { class: "title" }, h("h2", { id: "dialog-title" }, title),
        h("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close (Esc)", onclick: () => close(null) }, icon("close"))),
      ...fill(close),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(value);
    });
    // A click beside it leaves it.
    dialog.addEventListener("pointerdown", (event) => event.target === dialog && close(null));
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector("[autofocus]")?.focus();
  });
}

const choices = (...buttons) => h("div", { class: "choices" }, buttons);

const choice = (text, action, properties = {}) =>
  h("button", { type: "button", class: "plain", onclick: action, ...properties }, text);

/** A question with two answers: true, or false. */
export async function confirmed({ title, text, yes, no = "Cancel", careful = false }) {
  const value = await asked(title, (close) => [
    ...text.map((line) => h("p", {}, line)),
    choices(
      choice(yes, () => close(true), { class: careful ? "danger" : "main", autofocus: !careful }),
      choice(no, () => close(false), { autofocus: careful }),
    ),
  ]);
  return value === true;
}

/** The key of the API, or null. */
export function askKey(refused) {
  return asked("This server asks for a key", (close) => {
    const input = h("input", { id: "key-given", type: "password", autocomplete: "off", spellcheck: "false", required: true, autofocus: true });
    const submit = (event) => {
      event.preventDefault();
      if (input.value.trim()) close(input.value.trim());
    };
    return [
      h("p", {}, refused ? "The key was not accepted. Is it whole, and was it revoked?" : "Whoever runs this server can give you one."),
      h("form", { onsubmit: submit },
        h("label", { for: "key-given" }, "Key"), input,
        h("p", { class: "soft" }, "It stays in this tab, and is forgotten when the tab is closed."),
        choices(h("button", { type: "submit", class: "main" }, "Use this key"), choice("Cancel", () => close(null)))),
    ];
  });
}

const KEYS = [
  ["Anywhere", [
    ["Alt N", "a new chat"], ["Alt C", "the old chats"], ["Alt B", "the branches"], ["Alt S", "what you say"],
    ["Alt T", "light or dark"], ["Ctrl /", "this list"], ["Esc", "stop the reply; close what is open"],
  ]],
  ["Where you write", [["Enter", "send"], ["Shift Enter", "a new line"], ["↑", "to the messages, where nothing is written"]]],
  ["On a message", [
    ["↑ ↓", "the message before, after"], ["Home End", "the first, the last"], ["← →", "its other versions"],
    ["E", "edit what you said"], ["R", "another reply"], ["B", "back to here: go on from this state"],
    ["+ -", "good, bad"], ["S", "say this instead"], ["O", "pick one of other replies"], ["W", "why this reply?"], ["C", "copy"],
  ]],
  ["On the branches", [["↑ ↓ ← →", "the next dot that way"], ["Enter", "go on from there"]]],
];

export function showShortcuts() {
  return asked("Everything by keyboard", () => [
    h("div", { class: "keys", tabindex: 0, role: "group", "aria-label": "Keys" }, KEYS.map(([where, keys]) => h(
      "section", {}, h("h3", {}, where),
      h("dl", {}, keys.map(([key, what]) => h("div", {}, h("dt", {}, key.split(" ").map((k) => h("kbd", {}, k))), h("dd", {}, what)))),
    ))),
  ]);
}

/** One of several texts, or null. */
export function picked(texts) {
  return asked("What should it have said?", (close) => [
    texts.length ? "" : h("p", {}, "It has nothing else to say."),
    h("div", { class: "replies" }, texts.map((text, n) => choice(text, () => close(text), { autofocus: n === 0 }))),
  ]);
}

/** What is kept of thumbs and corrections: "download", "consent", "withdraw", or null. */
export function feedbackMenu(consents) {
  return asked("Feedback", (close) => [
    h("p", {}, consents
      ? "Your ratings and corrections are kept on this server, each with the message and the reply, so that a bot can learn from them later."
      : "Ratings and corrections are kept only if you agree. Nothing is kept so far from this browser, or from now on."),
    choices(
      choice("Download as JSONL", () => close("download"), { class: "main" }),
      consents
        ? choice("Keep no more", () => close("withdraw"))
        : choice("Agree", () => close("consent")),
    ),
  ]);
}
