// Where one writes. What is typed is kept in this tab until the server has it.

import { byId, fit } from "./dom.js";
import { icon } from "./icons.js";
import { thisTab } from "./storage.js";

export class Composer {
  constructor(conversation, send) {
    this.conversation = conversation;
    this.send = send;
    this.box = byId("say");
    this.button = byId("send");
    this.box.value = thisTab.get("draft") ?? "";
    this.box.addEventListener("input", () => this.changed());
    this.box.addEventListener("keydown", (event) => this.key(event));
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    fit(this.box);
  }

  draw(name) {
    const { busy } = this.conversation;
    this.box.placeholder = `Say something to ${name}`;
    if (this.wasBusy !== busy) this.button.replaceChildren(icon(busy ? "stop" : "send"));
    this.wasBusy = busy;
    this.button.classList.toggle("stop", busy);
    this.button.setAttribute("aria-label", busy ? "Stop the reply" : "Send");
    this.button.title = busy ? "Stop (Esc)" : "Send (Enter)";
    this.button.disabled = !busy && !this.box.value.trim();
  }

  changed() {
    fit(this.box);
    this.store();
    this.button.disabled = !this.conversation.busy && !this.box.value.trim();
  }

  /** With what is written, what was sent and is not yet with the server. */
  store() {
    thisTab.set("draft", [this.sent, this.box.value].filter((text) => text?.trim()).join("\n"));
  }

  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!this.conversation.busy) this.submit();
    } else if (event.key === "ArrowUp" && !this.box.value && !event.altKey) {
      const last = byId("messages").lastElementChild;
      if (!last) return;
      event.preventDefault();
      last.focus();
    }
  }

  submit() {
    if (this.conversation.busy) {
      this.conversation.stop();
    } else if (this.box.value.trim()) {
      const text = this.box.value;
      this.box.value = "";
      this.hold(text);
      fit(this.box);
      this.send(text);
    }
    this.focus();
  }

  /** Keeps what is sent until the server has it. */
  hold(text) {
    this.sent = text;
    this.store();
  }

  /** The server has what was sent. */
  kept() {
    this.sent = null;
    this.store();
  }

  /** What was not said after all comes back, before what was written meanwhile. */
  giveBack() {
    this.box.value = [this.sent, this.box.value].filter((part) => part?.trim()).join("\n");
    this.sent = null;
    this.changed();
    this.focus();
  }

  focus() {
    this.box.focus();
  }
}
