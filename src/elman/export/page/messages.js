// What was said, as elements. Text only ever becomes text: nothing that was said is read as markup.

/** An element: `on...` properties listen; false and null are left out. */
function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const ORIGINS = {
  rule: "fixed for what was said", taught: "as it was taught", "small talk": "written for what was asked",
};

class Messages {
  constructor(name) {
    this.name = name;
    this.list = byId("messages");
  }

  /** Shows the messages of a conversation; `tools` stand under the last one. */
  show(path, tools) {
    this.list.replaceChildren(...path.map(({ role, text, depth, origin }) => this.message(
      role, role === "state" ? `Goes on from ${text}, ${depth.toLocaleString("en")} messages old.` : text, ORIGINS[origin])));
    this.list.lastElementChild?.append(h("div", { class: "choices" }, ...tools));
    this.scroll();
  }

  message(role, text, note) {
    const who = { user: "You", bot: this.name, state: "Memory" }[role];
    return h("li", { class: `message ${role}` },
      h("div", { class: "who" }, note ? `${who} · ${note}` : who), h("div", { class: "text", dir: "auto" }, text));
  }

  /** Adds what is said now; returns a function that makes the last one longer. */
  live(said) {
    if (said !== null) this.list.append(this.message("user", said));
    this.list.querySelector(".choices")?.remove();
    const element = this.message("bot", ""), text = element.querySelector(".text");
    this.list.append(element);
    this.scroll();
    return (piece) => {
      text.append(piece);
      this.scroll();
    };
  }

  scroll() {
    const main = byId("main");
    main.scrollTop = main.scrollHeight;
  }
}
