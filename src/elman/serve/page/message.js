// One message on the page: what was said or replied, its memory, and what can be done with it.

import { fit, h, svg } from "./dom.js";
import { bytes, messages, moment } from "./format.js";
import { icon, mark } from "./icons.js";

/** The thread of the state at the left: a node of each message, and the stub of other branches. */
function thread(kind) {
  return h("div", { class: "thread", "aria-hidden": "true" }, kind === "reply" ? mark("node") : svg(
    "svg", { class: "node", viewBox: "0 0 32 32" }, svg("circle", { class: "ring", cx: 16, cy: 16, r: 7 }),
  ), svg("svg", { class: "stub", viewBox: "0 0 16 24" }, svg("path", { d: "M2 0C2 14 14 8 14 24" })));
}

export function toolButton(name, label, action, properties = {}) {
  return h("button", { class: "tool", type: "button", "aria-label": label, title: label, onclick: action, ...properties }, icon(name));
}

export class MessageView {
  /** `kind` is "said" or "reply"; `tools` are buttons. */
  constructor(kind, tools, step) {
    this.kind = kind;
    this.words = document.createTextNode("");
    this.text = h("div", { class: "text", dir: "auto" }, this.words);
    this.who = h("span", { class: "who" });
    this.memory = h("span", { class: "state" });
    this.note = h("p", { class: "note", hidden: true });
    this.bar = h("div", { class: "attribution", hidden: true });
    this.count = h("span", { class: "count" });
    const what = kind === "said" ? "words" : "reply";
    this.pager = h(
      "span", { class: "pager", role: "group", "aria-label": kind === "said" ? "Other words" : "Other replies", hidden: true },
      toolButton("left", `The ${what} before`, () => step(-1)),
      this.count,
      toolButton("right", `The ${what} after`, () => step(1)),
    );
    this.tools = h("div", { class: "tools", role: "group", "aria-label": "What to do with this message" }, tools);
    this.body = h("div", { class: "body" }, this.text);
    this.element = h(
      "li", { class: `message ${kind}`, tabindex: -1 },
      thread(kind),
      h("div", { class: "column" }, h("div", { class: "head" }, this.who, this.bar), this.body, this.note,
        h("div", { class: "facts" }, this.memory, this.pager, this.tools)),
    );
  }

  /** `shown`: {name, number, text, state, at, siblings: [at, of], note, live}. */
  update(shown) {
    if (this.words.data !== shown.text) this.words.data = shown.text;
    this.who.textContent = shown.name;
    this.element.setAttribute("aria-label", `${shown.name}, message ${shown.number}`);
    this.memory.textContent = shown.state
      ? `${bytes(shown.state.bytes)} · ${messages(shown.state.messages)}${shown.cut ? " · stopped here" : ""}`
      : "";
    this.memory.title = shown.state
      ? `The bot's whole memory after this message${shown.at ? `, ${moment(shown.at)}` : ""}`
      : "";
    const [at, of] = shown.siblings;
    this.pager.hidden = of < 2;
    this.count.textContent = `${at + 1}/${of}`;
    this.pager.firstChild.disabled = at === 0;
    this.pager.lastChild.disabled = at === of - 1;
    this.element.classList.toggle("branches", of > 1);
    this.element.classList.toggle("live", Boolean(shown.live));
    this.tools.hidden = Boolean(shown.live);
    this.note.hidden = !shown.note;
    if (!shown.note) this.note.replaceChildren();
    else if (this.noted !== shown.note) this.note.replaceChildren(...shown.note.children());
    this.noted = shown.note;
  }

  grow(text) {
    if (text.startsWith(this.words.data)) this.words.appendData(text.slice(this.words.data.length));
    else this.words.data = text;
  }

  /** Puts a text box in the place of the text, or under it; `use(text)` where it is sent. */
  write({ label, text, send, under, use }) {
    this.written?.remove();
    const box = h("textarea", { rows: 1, "aria-label": label, dir: "auto", maxlength: 100000 });
    box.value = text;
    const leave = () => {
      form.remove();
      this.written = null;
      this.text.hidden = false;
      this.element.focus();
    };
    const submit = (event) => {
      event.preventDefault();
      if (!box.value.trim()) return box.focus();
      leave();
      use(box.value);
    };
    const form = h(
      "form", { class: "rewrite", onsubmit: submit },
      under ? h("p", { class: "label" }, label) : null, box,
      h("div", { class: "choices" }, h("button", { type: "submit", class: "main" }, send),
        h("button", { type: "button", class: "plain", onclick: leave }, "Cancel")),
    );
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") leave();
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target === box) submit(event);
      else return;
      event.stopPropagation();
    });
    box.addEventListener("input", () => fit(box));
    this.text.hidden = !under;
    this.body.append(form);
    this.written = form;
    fit(box);
    box.focus();
    box.select();
  }
}
