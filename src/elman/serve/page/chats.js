// The list of old chats.

import { byId, h } from "./dom.js";
import { ago, messages, moment } from "./format.js";
import { icon } from "./icons.js";

export class ChatList {
  /** `open(chat)` and `remove(chat)`: what the entries do; `older()` loads more of them. */
  constructor(open, remove, older) {
    Object.assign(this, { open, remove, older });
    this.box = byId("chat-list");
    this.chats = [];
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  draw(chats, { current, severalBots, more }) {
    const held = this.box.contains(document.activeElement) ? document.activeElement : null;
    const before = held?.classList.contains("more") ? this.chats.length : null;
    this.chats = chats;
    const entries = chats.map((chat) => this.entry(chat, current, severalBots));
    if (more) entries.push(h("li", {}, h("button", { type: "button", class: "more", onclick: this.older }, "Older chats")));
    if (!chats.length) entries.push(h("li", { class: "none" }, "Chats that you have are kept here."));
    this.box.replaceChildren(...entries);
    if (before !== null) this.box.querySelectorAll(".open, .more")[before]?.focus();
    else if (held === this.box) this.box.querySelector("[aria-current]")?.focus();
    else if (held?.dataset.chat) this.box.querySelector(`.open[data-chat="${CSS.escape(held.dataset.chat)}"]`)?.focus();
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
