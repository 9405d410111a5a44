// Thumbs up, thumbs down and "say this instead": kept by the server, with consent, for later learning.

import { announce } from "./dom.js";
import { confirmed, feedbackMenu } from "./dialogs.js";
import { always } from "./storage.js";

const QUESTION = {
  title: "Keep this for later learning?",
  text: [
    "With your consent this server keeps your ratings and corrections, each with the message and the reply, so that a bot can learn from them later.",
    "You are asked once. What is kept you can download; the choice can be changed under Feedback.",
  ],
  yes: "Yes, keep it",
  no: "No",
};

export class Feedback {
  /** `changed()` is called where a rating is to be shown; `failed(error)` where it could not be kept. */
  constructor(api, changed, failed) {
    this.api = api;
    this.changed = changed;
    this.failed = failed;
    this.given = new Map(); // id of a response -> {rating: "up", "down" or null, instead: text or null}
  }

  get consents() {
    return always.get("consent") === "yes";
  }

  of = (turn) => this.given.get(turn.id) ?? { rating: null, instead: null };

  rating = (turn) => this.of(turn).rating;

  /** What was given before, out of what the server has kept. */
  async load() {
    if (!this.consents) return;
    const lines = (await (await this.api.kept()).text()).split("\n").filter(Boolean);
    for (const { response_id: id, rating, instead } of lines.map((line) => JSON.parse(line))) {
      this.given.set(id, { rating, instead });
    }
    this.changed();
  }

  /** The same rating twice takes it back. */
  async rate(turn, rating) {
    const now = this.rating(turn) === rating ? null : rating;
    if (!(await this.keep(turn, { ...this.of(turn), rating: now }))) return;
    announce(now ? `Rated ${now === "up" ? "good" : "bad"}.` : "Rating taken back.");
  }

  async instead(turn, text) {
    return this.keep(turn, { ...this.of(turn), instead: text });
  }

  async keep(turn, given) {
    if (!(await this.agreed())) return false;
    try {
      await this.api.feedback({ response_id: turn.id, ...given, consent: true });
    } catch (error) {
      this.failed(error);
      return false;
    }
    this.given.set(turn.id, given);
    this.changed();
    return true;
  }

  /** Asks once; a no is not kept, since what follows it is that nothing is. */
  async agreed() {
    if (!this.consents && (await confirmed(QUESTION))) always.set("consent", "yes");
    return this.consents;
  }

  async menu() {
    const chosen = await feedbackMenu(this.consents);
    if (chosen === "withdraw") always.set("consent", null);
    if (chosen === "consent") always.set("consent", "yes");
    if (chosen === "download") await this.download();
  }

  async download() {
    try {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await this.api.kept());
      link.download = "feedback.jsonl";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      this.failed(error);
    }
  }
}
