// The conversation on the page: its messages one under the other, each drawn once and then kept.

import { announce, byId, h } from "./dom.js";
import { icon } from "./icons.js";
import { clearAttribution } from "./attribution.js";
import { MessageView, toolButton } from "./message.js";

const NEAR = 64; // pixels from the end within which the page follows a reply

/** `actions`: edit, again, rewind, rate, instead, others, why, go, retry, takeBack. */
export class ConversationView {
  constructor(conversation, actions) {
    this.conversation = conversation;
    this.actions = actions;
    this.list = byId("messages");
    this.box = byId("scroll");
    this.drawn = new Map(); // key of a turn -> {turn, said, reply}
    this.follows = true;
    this.list.addEventListener("focusin", (event) => this.rove(event.target.closest(".message")));
    this.box.addEventListener("scroll", () => this.look(), { passive: true });
    byId("latest").addEventListener("click", () => this.toEnd());
    this.lastTop = 0;
    const resized = new ResizeObserver(() => this.keepUp());
    resized.observe(this.list);
    resized.observe(this.box);
  }

  draw(name, rating) {
    const { conversation } = this;
    clearAttribution(this.list);
    const path = conversation.path;
    const kept = new Map();
    path.forEach((turn, n) => {
      const key = turn.key ?? turn.id;
      const pair = this.drawn.get(key) ?? this.made();
      pair.turn = turn;
      this.show(pair, n, path.length, name, rating);
      kept.set(key, pair);
    });
    this.drawn = kept;
    this.arrange([...kept.values()].flatMap(({ said, reply }) => [said.element, reply.element]));
    if (!this.list.querySelector("[tabindex='0']")) this.rove(this.list.lastElementChild);
    this.keepUp();
  }

  /** Puts the list in order without touching what is in its place, so that focus stays. */
  arrange(elements) {
    let at = this.list.firstElementChild;
    const wanted = new Set(elements);
    for (const element of elements) {
      while (at && !wanted.has(at)) {
        const gone = at;
        at = at.nextElementSibling;
        gone.remove();
      }
      if (at === element) at = at.nextElementSibling;
      else this.list.insertBefore(element, at);
    }
    while (at) {
      const gone = at;
      at = at.nextElementSibling;
      gone.remove();
    }
  }

  made() {
    const { actions } = this;
    const pair = {};
    const of = (action, ...more) => () => action(pair.turn, ...more);
    pair.said = new MessageView(
      "said", [toolButton("edit", "Edit (E)", () => this.edit(pair))],
      (by) => this.step(pair.turn, "sayings", by),
    );
    pair.reply = new MessageView("reply", [
      toolButton("again", "Another reply (R)", of(actions.again)),
      toolButton("back", "Back to here (B)", of(actions.rewind)),
      toolButton("up", "Good (+)", of(actions.rate, "up"), { "aria-pressed": "false", "data-rating": "up" }),
      toolButton("worse", "Bad (-)", of(actions.rate, "down"), { "aria-pressed": "false", "data-rating": "down" }),
      toolButton("instead", "Say this instead (S)", () => this.instead(pair)),
      toolButton("others", "Other replies (O)", of(actions.others)),
      toolButton("why", "Why this? (W)", of(actions.why)),
      toolButton("copy", "Copy (C)", of(actions.copy)),
    ], (by) => this.step(pair.turn, "replies", by));
    for (const view of [pair.said, pair.reply]) {
      view.element.addEventListener("keydown", (event) => this.key(event, pair, view));
    }
    return pair;
  }

  show(pair, n, length, name, rating) {
    const { turn, said, reply } = pair;
    const { tree } = this.conversation;
    const live = turn.stage !== undefined;
    const place = (ids) => (live ? [ids.length, ids.length + 1] : [ids.indexOf(turn.id), ids.length]);
    // What is said anew replaces nothing: until it is done it counts as one more.
    const words = tree.sayings(turn), replies = tree.replies(turn);
    const heard = turn.heard ?? (turn.state && { ...turn.state, messages: turn.state.messages - (turn.reply ? 1 : 0) });
    const known = words.findIndex((id) => tree.get(id).said === turn.said);
    said.update({
      name: "You", number: 2 * n + 1, text: turn.said, state: heard, at: turn.at, live,
      siblings: live && known >= 0 ? [known, words.length] : place(words),
    });
    reply.update({
      name, number: 2 * n + 2, text: turn.reply, state: turn.state, at: turn.at, live,
      siblings: place(replies), note: this.note(turn), cut: ["incomplete", "cancelled"].includes(turn.status),
    });
    reply.element.dataset.stage = turn.stage ?? turn.status;
    reply.element.classList.toggle("turning", ["sending", "replying", "waiting"].includes(turn.stage));
    reply.element.setAttribute("aria-busy", String(live && turn.stage !== "failed"));
    reply.element.classList.toggle("last", n === length - 1);
    reply.tools.children[1].hidden = n === length - 1;
    for (const button of reply.tools.querySelectorAll("[data-rating]")) {
      button.setAttribute("aria-pressed", String(rating(turn) === button.dataset.rating));
    }
  }

  /** What is to be said of a turn that could not be made. */
  note(turn) {
    if (turn.stage !== "failed" && turn.stage !== "waiting") return null;
    const key = `${turn.stage} ${turn.error}`;
    if (turn.noted?.key !== key) {
      const { retry, takeBack } = this.actions;
      const again = turn.stage === "waiting" ? "Try now" : "Say it again";
      turn.noted = { key, children: () => [
        h("span", {}, turn.error),
        turn.hopeless ? "" : h("button", { type: "button", class: "main", onclick: retry }, again),
        h("button", { type: "button", class: "plain", onclick: takeBack }, "Take it back"),
      ] };
    }
    return turn.noted;
  }

  /** A reply has grown: at most once a frame. */
  grow(live) {
    if (this.growing) return;
    this.growing = requestAnimationFrame(() => {
      this.growing = null;
      const pair = this.drawn.get(live.key);
      if (pair?.turn === live) pair.reply.grow(live.reply);
    });
  }

  done(turn, name) {
    announce(`${name}: ${turn.reply}`);
  }

  step(turn, kind, by) {
    const { tree } = this.conversation;
    const ids = tree[kind](turn);
    const next = turn.stage === undefined ? ids[ids.indexOf(turn.id) + by] : ids.at(by);
    if (next === undefined || this.conversation.busy) return;
    this.actions.go(tree.newest(next));
    const pair = this.drawn.get(tree.get(next).key ?? next);
    (kind === "sayings" ? pair.said : pair.reply).element.focus({ preventScroll: true });
  }

  edit({ turn, said }) {
    if (this.conversation.busy) return;
    said.write({
      label: "Other words", text: turn.said, send: "Say this", under: false,
      use: (text) => this.actions.edit(turn, text),
    });
  }

  instead({ turn, reply }) {
    reply.write({
      label: "What should it have said?", text: this.actions.better(turn) ?? turn.reply, send: "Keep this", under: true,
      use: (text) => this.actions.instead(turn, text),
    });
  }

  /** Keys of a message that has the focus itself. */
  key(event, pair, view) {
    if (event.target !== view.element || event.altKey || event.ctrlKey || event.metaKey) return;
    const { actions } = this;
    const { turn } = pair;
    const reply = view === pair.reply;
    const kind = reply ? "replies" : "sayings";
    const done = turn.stage === undefined;
    const does = {
      ArrowUp: () => this.move(view.element.previousElementSibling),
      ArrowDown: () => (view.element.nextElementSibling ? this.move(view.element.nextElementSibling) : byId("say").focus()),
      Home: () => this.move(this.list.firstElementChild),
      End: () => this.move(this.list.lastElementChild),
      ArrowLeft: () => this.step(turn, kind, -1),
      ArrowRight: () => this.step(turn, kind, 1),
      ...(done && { e: () => this.edit(pair), r: () => actions.again(turn) }),
      ...(done && reply && {
        b: () => actions.rewind(turn), "+": () => actions.rate(turn, "up"), "-": () => actions.rate(turn, "down"),
        s: () => this.instead(pair), o: () => actions.others(turn), w: () => actions.why(turn), c: () => actions.copy(turn),
      }),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  move(element) {
    element?.focus({ preventScroll: true });
    element?.scrollIntoView({ block: "nearest" });
  }

  /** One message is in the order of the Tab key, the others are reached by arrows. */
  rove(element) {
    if (!element) return;
    for (const other of this.list.querySelectorAll(".message[tabindex='0']")) other.tabIndex = -1;
    element.tabIndex = 0;
  }

  element(turn, kind) {
    return this.drawn.get(turn.key ?? turn.id)?.[kind].element;
  }

  look() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    // Only going up leaves the end; that the page around it changes does not.
    if (scrollHeight - scrollTop - clientHeight < NEAR) this.follows = true;
    else if (scrollTop < this.lastTop) this.follows = false;
    this.lastTop = scrollTop;
    byId("latest").hidden = this.follows;
  }

  keepUp() {
    if (this.follows) this.box.scrollTop = this.box.scrollHeight;
    else this.look();
  }

  toEnd() {
    this.follows = true;
    this.keepUp();
    byId("latest").hidden = true;
  }
}

byId("latest").append(icon("down"), "Latest");
