// The server's public API, and nothing else of it.

import { events } from "./stream.js";
import { thisTab } from "./storage.js";

/** The server answered, and said no. */
export class Refused extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter; // seconds, or null
  }
}

/** The server did not answer, or broke off. */
export class Unreachable extends Error {}

export class Api {
  /** `askKey(refused)` gives a key, or null where nobody has one; it is asked once at a time. */
  constructor(askKey) {
    this.askKey = askKey;
    this.asking = null;
  }

  models = async () => (await this.json("GET", "/v1/models")).data;
  chats = (after = null) => this.json("GET", `/v1/chats${after ? `?after=${encodeURIComponent(after)}` : ""}`);
  chat = (id) => this.json("GET", `/v1/chats/${encodeURIComponent(id)}`);
  deleteChat = (id) => this.json("DELETE", `/v1/chats/${encodeURIComponent(id)}`);
  response = (id) => this.json("GET", `/v1/responses/${encodeURIComponent(id)}`);
  why = (id) => this.json("GET", `/v1/responses/${encodeURIComponent(id)}?why=true`);
  feedback = (given) => this.json("POST", "/v1/feedback", given);
  /** Up to 8 replies to the last of some messages, each another one. */
  async others(model, messages) {
    const { choices } = await this.json("POST", "/v1/chat/completions", { model, messages, n: 8 });
    return [...new Set(choices.map((choice) => choice.message.content.trim()).filter(Boolean))];
  }
  kept = async () => (await this.request("GET", "/v1/feedback")).blob();

  async alive() {
    try {
      await fetch("/health", { cache: "no-store" });
      return true;
    } catch {
      return false;
    }
  }

  /** Says something: yields the events of the reply. */
  async *respond(body, signal) {
    const response = await this.request("POST", "/v1/responses", { ...body, stream: true }, signal);
    try {
      yield* events(response.body);
    } catch (error) {
      throw signal.aborted ? error : new Unreachable(String(error.message ?? error));
    }
  }

  async json(method, path, body) {
    const response = await this.request(method, path, body);
    const text = await read(response);
    return text ? JSON.parse(text) : {};
  }

  async request(method, path, body, signal) {
    for (let refused = false; ; refused = true) {
      const key = thisTab.get("key");
      const headers = {};
      if (body !== undefined) headers["Content-Type"] = "application/json";
      if (key) headers.Authorization = `Bearer ${key}`;
      let response;
      try {
        response = await fetch(path, {
          method, headers, signal, cache: "no-store",
          body: body === undefined ? undefined : JSON.stringify(body),
        });
      } catch (error) {
        throw signal?.aborted ? error : new Unreachable(String(error.message ?? error));
      }
      if (response.ok) return response;
      if (response.status !== 401 || !(await this.newKey(key, refused))) throw await refusal(response);
    }
  }

  /** Whether there is another key to try than the one that was refused. */
  async newKey(used, refused) {
    if (thisTab.get("key") !== used) return true; // given meanwhile, to another request
    this.asking ??= this.askKey(refused || used !== null).finally(() => (this.asking = null));
    const key = await this.asking;
    if (key) thisTab.set("key", key);
    return Boolean(key);
  }
}

async function read(response) {
  try {
    return await response.text();
  } catch (error) {
    throw new Unreachable(String(error.message ?? error));
  }
}

async function refusal(response) {
  let message = `the server said ${response.status} ${response.statusText}`.trim();
  try {
    message = JSON.parse(await response.text()).error.message || message;
  } catch {
    // Not ours: a proxy's page, say. Its status tells enough.
  }
  const after = Number.parseFloat(response.headers.get("Retry-After"));
  return new Refused(response.status, message, Number.isFinite(after) ? after : null);
}
