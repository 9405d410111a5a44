// The list of old chats.

import { byId, h } from "./dom.js";
import { ago, messages, moment } from "./format.js";
import { icon } from "./icons.js";

const AT_ONCE = 60; // chats that are drawn, and drawn in addition where more are wanted

export class ChatList {
  /** `open(chat)` and `remove(chat)`: what the entries do. */
  constructor(open, remove) {
    this.open = open;
    this.remove = remove;
    this.box = byId("chat-list");
    this.shown = AT_ONCE;
    this.chats = [];
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  draw(chats, current, severalBots) {
    this.chats = chats;
    this.last = [current, severalBots];
    const held = this.box.contains(document.activeElement) ? document.activeElement.dataset.chat : null;
    const entries = chats.slice(0, this.shown).map((chat) => this.entry(chat, current, severalBots));
    const rest = chats.length - this.shown;
    if (rest > 0) entries.push(h("li", {}, h("button", { type: "button", class: "more", onclick: () => this.more() }, `${rest.toLocaleString("en")} more`)));
    if (!chats.length) entries.push(h("li", { class: "none" }, "Chats that you have are kept here."));
    this.box.replaceChildren(...entries);
    if (held) this.box.querySelector(`[data-chat="${CSS.escape(held)}"]`)?.focus();
  }

  entry(chat, current, severalBots) {
    const title = chat.title || "Without words";
    const facts = [severalBots ? chat.model : null, messages(chat.messages), ago(chat.updated_at)];
    return h(
      "li", { class: chat.id === current ? "chat current" : "chat" },
      h(
        "button",
        { type: "button", class: "open", "data-chat": chat.id, "aria-current": chat.id === current ? "true" : null, title: moment(chat.updated_at), onclick: () => this.open(chat) },
        h("span", { class: "chat-title", dir: "auto" }, title),
        h("span", { class: "soft" }, facts.filter(Boolean).join(" · ")),
      ),
      h("button", { type: "button", class: "tool remove", "aria-label": `Delete ${title}`, title: "Delete (Del)", onclick: () => this.remove(chat) }, icon("trash")),
    );
  }

  more() {
    const first = this.shown;
    this.shown += AT_ONCE;
    this.draw(this.chats, ...this.last);
    this.box.querySelectorAll(".open")[first]?.focus();
  }

  key(event) {
    const entries = [...this.box.querySelectorAll(".open, .more")];
    const at = entries.indexOf(document.activeElement);
    if (at < 0) return;
    if (event.key === "Delete" && this.chats[at]) this.remove(this.chats[at]);
    else if (event.key === "ArrowDown") entries[at + 1]?.focus();
    else if (event.key === "ArrowUp") entries[at - 1]?.focus();
    else return;
    event.preventDefault();
  }

  focus() {
    (this.box.querySelector("[aria-current]") ?? this.box.querySelector(".open") ?? byId("new-chat")).focus();
  }
}
