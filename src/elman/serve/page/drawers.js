// The two sides. Where there is room they stand beside the conversation; else they are drawn over it.

import { byId } from "./dom.js";

class Drawer {
  constructor(name, narrow) {
    this.side = byId(name);
    this.button = byId(`open-${name}`);
    this.narrow = matchMedia(narrow);
    this.button.addEventListener("click", () => this.toggle());
    byId(`close-${name}`).addEventListener("click", () => this.close());
    this.narrow.addEventListener("change", () => this.close(false));
    this.close(false);
  }

  get drawn() {
    return this.narrow.matches;
  }

  toggle() {
    if (!this.drawn) this.fold(!this.side.classList.contains("folded"));
    else if (this.side.classList.contains("drawn")) this.close();
    else this.open();
  }

  open() {
    this.fold(false);
    if (!this.drawn) return;
    this.side.classList.add("drawn");
    this.side.inert = false;
    byId("main").inert = true;
    byId("shade").hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    // The list takes the focus for an entry that is still to come.
    (["[aria-current], .here", "ul", "button"].map((each) => this.side.querySelector(each)).find(Boolean)).focus();
  }

  /** Where it is only drawn over the page, what is out of sight is out of reach. */
  close(focus = true) {
    const was = this.side.classList.contains("drawn");
    this.side.classList.remove("drawn");
    this.side.inert = this.drawn;
    if (was) {
      byId("main").inert = false;
      byId("shade").hidden = true;
      if (focus) this.button.focus();
    }
    this.fold(this.side.classList.contains("folded"));
  }

  fold(folded) {
    this.side.classList.toggle("folded", folded);
    if (!this.drawn) this.side.inert = folded;
    this.button.setAttribute("aria-expanded", String(!this.drawn && !folded));
  }
}

export class Drawers {
  constructor() {
    this.chats = new Drawer("chats", "(max-width: 759px)");
    this.map = new Drawer("map", "(max-width: 1099px)");
    byId("shade").addEventListener("click", () => this.close());
  }

  /** Closes what is drawn over the conversation; false where nothing is. */
  close(focus = true) {
    const open = [this.chats, this.map].find((drawer) => drawer.side.classList.contains("drawn"));
    open?.close(focus);
    return Boolean(open);
  }
}
