// What goes on in a conversation: who said what, where we are in its tree, what is being said now.

import { Refused, Unreachable } from "./api.js";
import { Tree, turnOf } from "./tree.js";

let lives = 0;

/**
 * Dispatches "change" where something else is to be shown, "text" where a reply has grown,
 * "done" with a finished turn, "lost" where the server went away, "begun" where it took what was said.
 *
 * `live` is the turn that is being made, or could not be: its `stage` is "sending", "replying",
 * "waiting" (for the server, or for room there), or "failed" with its `error`.
 */
export class Conversation extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.start(null);
  }

  start(model) {
    this.leave();
    this.tree = new Tree(null, model);
    this.tip = null;
    this.tell("change");
  }

  open(chat, tip = null) {
    this.leave();
    this.tree = Tree.of(chat);
    this.tip = this.tree.get(tip) ? tip : this.tree.latest;
    this.tell("change");
  }

  leave() {
    const live = this.live;
    this.live = null;
    clearTimeout(live?.timer);
    live?.controller.abort();
  }

  get busy() {
    return this.live !== null && this.live.stage !== "failed";
  }

  /** The turns that are shown, the one being made last. */
  get path() {
    return this.live
      ? [...this.tree.path(this.live.parent), this.live]
      : this.tree.path(this.tip);
  }

  go(id) {
    if (this.busy) return;
    this.live = null;
    this.tip = id;
    this.tell("change");
  }

  /** Says something after a turn; `beside` names the first turn of a chat that it is another one of. */
  say(text, parent = this.tip, beside = null) {
    if (this.busy) return;
    this.live = {
      key: `live-${(lives += 1)}`, id: null, parent, beside, said: text, reply: "",
      state: null, heard: null, stage: "sending", error: "", controller: new AbortController(),
    };
    this.tell("change");
    this.run(this.live);
  }

  /** Another reply to the same words, or a reply to others in their place. */
  instead(turn, text = turn.said) {
    this.say(text, turn.parent, turn.parent === null ? turn.id : null);
  }

  /** Tries once more what failed, or what waits. */
  retry() {
    const live = this.live;
    if (!live || !["failed", "waiting"].includes(live.stage)) return;
    clearTimeout(live.timer);
    Object.assign(live, { id: null, reply: "", error: "", stage: "sending" });
    live.controller = new AbortController();
    this.tell("change");
    this.run(live);
  }

  /** Stops the reply: what was said of it stays said. Before it began, nothing was. */
  stop() {
    const live = this.live;
    if (!this.busy) return;
    clearTimeout(live.timer);
    live.controller.abort();
    if (live.stage === "waiting") this.takeBack();
  }

  /** Gives up what could not be said. */
  takeBack() {
    this.live = null;
    this.tell("change");
    this.tell("unsaid");
  }

  async run(live) {
    const { signal } = live.controller;
    const body = { model: this.tree.model, input: live.said, store: true };
    if (live.parent !== null) body.previous_response_id = live.parent;
    if (live.beside !== null) body.elman = { beside: live.beside };
    try {
      for await (const { data } of this.api.respond(body, signal)) {
        if (this.live !== live) return;
        if (this.hear(live, data)) return;
      }
      throw new Unreachable("the reply broke off");
    } catch (error) {
      if (this.live !== live) return;
      if (signal.aborted) await this.stopped(live);
      else if (error instanceof Unreachable) this.lose(live);
      else if (error instanceof Refused && [429, 503].includes(error.status)) this.queue(live, error);
      else this.fail(live, error.message, error instanceof Refused && error.status < 500);
    }
  }

  /** One event of a reply's stream; true where it was the last. */
  hear(live, data) {
    switch (data.type) {
      case "response.created":
        live.id = data.response.id;
        live.heard = data.response.elman?.state ?? null;
        live.stage = "replying";
        this.tell("begun", live);
        this.tell("change");
        return false;
      case "response.output_text.delta":
        live.reply += data.delta;
        this.tell("text", live);
        return false;
      case "response.completed":
      case "response.incomplete":
        this.finish(live, turnOf({ input: live.said, ...data.response }, live.parent));
        return true;
      case "response.failed":
      case "error":
        throw new Error((data.response ?? data).error?.message ?? data.message ?? "the reply failed");
      default:
        return false;
    }
  }

  finish(live, turn) {
    this.tree.id ??= turn.id;
    this.tree.add({ ...turn, said: live.said, key: live.key });
    this.tip = turn.id;
    this.live = null;
    this.tell("change");
    this.tell("done", this.tree.get(turn.id));
  }

  /** The server keeps what it had said; a moment passes until it has noticed that nobody listens. */
  async stopped(live) {
    if (live.id === null) return this.takeBack();
    try {
      for (let wait = 30; wait < 4000 && this.live === live; wait *= 2) {
        if (await this.adopt(live)) return;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    } catch {
      // Gone as well: what the page saw is shown as it is.
    }
    if (this.live === live) this.fail(live, "This reply was stopped, and the bot does not remember it.");
  }

  /** `hopeless`: the same words would be refused again. */
  fail(live, message, hopeless = false) {
    Object.assign(live, { stage: "failed", error: message, hopeless });
    this.tell("change");
  }

  queue(live, error) {
    const seconds = Math.min(60, error.retryAfter ?? 3);
    live.stage = "waiting";
    live.error = `The server is busy; it is asked again in ${Math.ceil(seconds)} s.`;
    live.timer = setTimeout(() => this.live === live && this.retry(), seconds * 1000);
    this.tell("change");
  }

  lose(live) {
    live.stage = "waiting";
    live.error = live.id === null
      ? "Not said yet: it will be, when the server is back."
      : "The reply broke off; the server may have the rest of it when it is back.";
    this.tell("change");
    this.tell("lost");
  }

  /** The server is back: what waited is said; what broke off is taken from there where it is kept. */
  async back() {
    const live = this.live;
    if (live?.stage === "waiting" && live.id === null) return this.retry();
    if (live?.stage === "waiting" && !(await this.adopt(live)) && this.live === live) {
      this.fail(live, "The server went away in the middle of this reply.");
    }
  }

  /** Takes a turn from the server; false where it does not have it. */
  async adopt(live) {
    const known = await found(this.api.response(live.id));
    if (!known || this.live !== live) return this.live !== live;
    this.finish(live, turnOf({ input: live.said, ...known }, live.parent));
    return true;
  }

  /** Takes in what other tabs and programs have done to this chat; false where it is no more. */
  async refresh() {
    const before = this.tree;
    if (before.id === null || this.live) return true;
    const chat = await found(this.api.chat(before.id));
    if (this.tree !== before || this.live) return true;
    if (!chat) return false;
    const now = Tree.of(chat);
    for (const turn of now.turns.values()) turn.key = before.get(turn.id)?.key;
    const wasNewest = this.tip === null || !before.children(this.tip).length;
    this.tree = now;
    if (!now.get(this.tip)) this.tip = now.latest;
    else if (wasNewest) this.tip = now.newest(this.tip);
    this.tell("change");
    return true;
  }

  tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** What a request gives, or null where there is no such thing. */
export async function found(request) {
  try {
    return await request;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}
