// Wires the page together: what is shown, what is done, and what other tabs and the server tell.

import { Api, Refused, Unreachable } from "./api.js";
import { hush, moveOn, say, stand } from "./banner.js";
import { ChatList } from "./chats.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversation, found } from "./conversation.js";
import { askKey, confirmed, showShortcuts, picked } from "./dialogs.js";
import { announce, byId, h } from "./dom.js";
import { Drawers } from "./drawers.js";
import { Feedback } from "./feedback.js";
import { bytes, messages } from "./format.js";
import { attributionBars } from "./attribution.js";
import { icon, mark } from "./icons.js";
import { listenToKeys } from "./keys.js";
import { drawTheme, turnTheme } from "./look.js";
import { BranchMap } from "./map.js";
import { Place } from "./place.js";
import { always, thisTab } from "./storage.js";
import { ConversationView } from "./view.js";
import { welcome } from "./welcome.js";

const api = new Api((refused) => {
  byId("key").hidden = false;
  return askKey(refused);
});
const conversation = new Conversation(api);
const connection = new Connection(api);
const drawers = new Drawers();
const tabs = new BroadcastChannel("elman");
const feedback = new Feedback(api, draw, failed);
const composer = new Composer(conversation, (text) => conversation.say(text));
const list = new ChatList(openChat, removeChat, () => trying(loadOlder));
const place = new Place(conversation, (chat, tip) => openChat({ id: chat }, tip));
const map = new BranchMap((id) => (conversation.go(id), drawers.close()));
const view = new ConversationView(conversation, {
  go: (id) => conversation.go(id),
  edit: (turn, text) => (composer.hold(text), conversation.instead(turn, text)),
  again: (turn) => conversation.instead(turn),
  rewind: (turn) => (conversation.go(turn.id), composer.focus()),
  rate: (turn, rating) => feedback.rate(turn, rating),
  better: (turn) => feedback.of(turn).instead,
  instead: async (turn, text) => (await feedback.instead(turn, text)) && say("Kept as the better reply."),
  others,
  retry: () => conversation.retry(),
  takeBack: () => conversation.takeBack(),
  why,
  copy,
});

let bots = []; // the models
let chats = []; // the latest, as far as they were asked for
let more = false; // whether there are older ones

const bot = () => bots.find((model) => model.id === conversation.tree.model);
const name = () => conversation.tree.model ?? "bot";

// What is shown

function draw() {
  const { tree, path } = conversation;
  const empty = path.length === 0;
  byId("empty").hidden = !empty;
  if (empty) byId("empty").replaceChildren(...welcome(bot()));
  view.draw(name(), feedback.rating);
  map.draw(conversation, name());
  composer.draw(name());
  drawChats();
  drawMemory(path);
  drawFork();
  if (byId("bot").value !== tree.model) byId("bot").value = tree.model;
  byId("heading").hidden = empty;
  byId("heading").textContent = `A conversation with ${name()}`;
  document.title = path.length ? `${chats.find((chat) => chat.id === tree.id)?.title || path[0].said.slice(0, 60)} · Elman` : "Elman";
}

function drawMemory(path) {
  const state = path.findLast((turn) => turn.state)?.state;
  byId("memory").hidden = !state;
  if (!state) return;
  byId("memory").replaceChildren(mark("mark small"), h("span", {}, h("b", {}, bytes(state.bytes)), ` · ${messages(state.messages)}`));
  byId("memory").title = `${name()} remembers this conversation in ${bytes(state.bytes)}, and in nothing else`;
  byId("memory").classList.toggle("turning", conversation.busy);
}

/** Says so where what is said next begins a branch. */
function drawFork() {
  const { tree, tip, live } = conversation;
  const ahead = tip === null || live ? 0 : tree.ahead(tip);
  byId("fork").hidden = ahead === 0;
  if (!ahead) return;
  byId("fork").replaceChildren(
    icon("branches"),
    h("span", {}, `You are ${messages(ahead)} back. What you say now begins a branch.`),
    h("button", { type: "button", class: "link", onclick: () => conversation.go(tree.newest(tip)) }, "To the newest"),
  );
}

function failed(error) {
  if (error instanceof Unreachable) connection.lost();
  else say(error.message, "wrong");
}

/** Does what may fail, and says so where it does. */
async function trying(action) {
  try {
    return await action();
  } catch (error) {
    failed(error);
    return undefined;
  }
}

// What is done

function newChat(model = conversation.tree.model) {
  conversation.start(model);
  drawers.close(false);
  composer.focus();
}

async function openChat({ id }, tip = null) {
  const chat = await trying(() => found(api.chat(id)));
  if (chat === undefined) return false;
  if (chat === null) {
    say("That chat is no more.");
    return false;
  }
  conversation.open(chat, tip);
  view.toEnd();
  if (drawers.close(false)) composer.focus();
  return true;
}

async function removeChat(chat) {
  const sure = await confirmed({
    title: "Delete this chat?",
    text: [`“${chat.title || "Without words"}”, ${messages(chat.messages)} in all its branches, and the states they left. This cannot be undone.`],
    yes: "Delete", careful: true,
  });
  if (!sure) return;
  await trying(async () => {
    await api.deleteChat(chat.id);
    tabs.postMessage({ deleted: chat.id });
    chats = chats.filter((other) => other.id !== chat.id);
    if (conversation.tree.id === chat.id) newChat();
    await loadChats();
    announce("Deleted.");
  });
}

async function why(turn) {
  const got = await trying(() => api.why(turn.id));
  if (!got) return;
  const attribution = got.elman?.attribution;
  const elements = conversation.tree.path(turn.id)
    .flatMap((before) => [view.element(before, "said"), view.element(before, "reply")]);
  const cut = got.elman?.attribution_cut;
  if (!attribution?.length) say(`What made this reply is not available: ${cut ?? "another bot has taken its name since"}.`);
  else if (attributionBars(attribution, elements))
    say(`The bars show how much each message made this reply likelier${cut ? ` (${cut})` : ""}.`);
}

/** Shows other replies; the one that is picked is kept as the better one. */
async function others(turn) {
  const said = conversation.tree.path(turn.id).flatMap((each) => [
    { role: "user", content: each.said }, { role: "assistant", content: each.reply },
  ]).slice(0, -1);
  const texts = await trying(() => api.others(conversation.tree.model, said));
  const text = texts && (await picked(texts));
  if (text && (await feedback.instead(turn, text))) say("Kept as the better reply.");
}

async function copy(turn) {
  try {
    await navigator.clipboard.writeText(turn.reply);
    announce("Copied.");
  } catch {
    say("This browser does not let the page copy: select the text instead.");
  }
}

/** The latest chats anew; the older ones that are known stay below them. */
async function loadChats() {
  const page = await api.chats();
  const latest = new Set(page.data.map((chat) => chat.id));
  const since = page.data.at(-1)?.updated_at;
  const older = page.has_more ? chats.filter((chat) => !latest.has(chat.id) && chat.updated_at <= since) : [];
  if (!older.length) more = Boolean(page.has_more);
  chats = [...page.data, ...older];
  drawChats();
}

async function loadOlder() {
  const page = await api.chats(chats.at(-1).id);
  more = Boolean(page.has_more);
  chats = [...chats, ...page.data];
  drawChats();
}

const drawChats = () => list.draw(chats, { current: conversation.tree.id, severalBots: bots.length > 1, more });

// Beginning, and beginning again

const chosenBot = () => (bots.find((model) => model.id === always.get("bot")) ?? bots[0])?.id ?? null;

async function loadBots() {
  bots = await api.models();
  byId("bot").replaceChildren(...bots.map((model) => h("option", { value: model.id }, model.id)));
  byId("bot").disabled = bots.length < 2;
}

let begun = false;

async function begin() {
  try {
    await loadBots();
    if (conversation.tree.model === null) conversation.start(chosenBot());
    begun = true;
    await loadChats();
    await place.go();
    await trying(() => feedback.load());
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      stand("Without a key this server does not answer.", "Give a key", begin);
    } else {
      failed(error);
    }
  }
  document.documentElement.dataset.ready = "";
}

// What others tell

conversation.addEventListener("change", () => {
  draw();
  if (begun) place.keep();
});
conversation.addEventListener("text", ({ detail: live }) => view.grow(live));
conversation.addEventListener("begun", () => {
  composer.kept();
  moveOn();
});
conversation.addEventListener("unsaid", () => composer.giveBack());
conversation.addEventListener("lost", () => connection.lost());
conversation.addEventListener("done", async ({ detail: turn }) => {
  view.done(turn, name());
  tabs.postMessage({ changed: conversation.tree.id });
  await trying(loadChats);
});

connection.addEventListener("lost", () => announce("The server does not answer. What you typed is kept."));
connection.addEventListener("waiting", ({ detail: seconds }) => {
  const when = seconds ? `Trying again in ${seconds}\u00a0s.` : "Trying again…";
  stand(`The server does not answer. What you typed is kept. ${when}`, "Try now", () => connection.ask());
});
connection.addEventListener("back", () => trying(async () => {
  hush();
  announce("The server is back.");
  if (!begun) return begin();
  await loadChats();
  await conversation.back();
  if (!conversation.live) await conversation.refresh();
}));

/** Looks at what other tabs and programs did meanwhile. */
const catchUp = () => trying(async () => {
  if (!begun || connection.down) return;
  await loadChats();
  if (!(await conversation.refresh())) {
    newChat();
    say("This chat was deleted elsewhere.");
  }
});
tabs.addEventListener("message", catchUp);
document.addEventListener("visibilitychange", () => !document.hidden && catchUp());

byId("new-chat").addEventListener("click", () => newChat());
byId("bot").addEventListener("change", ({ target }) => {
  always.set("bot", target.value);
  newChat(target.value);
  announce(`A new chat with ${target.value}.`);
});
byId("feedback").addEventListener("click", () => feedback.menu());
byId("shortcuts").addEventListener("click", showShortcuts);
byId("key").hidden = !thisTab.get("key");
byId("key").addEventListener("click", async () => {
  const key = await askKey(false);
  if (!key) return;
  thisTab.set("key", key);
  newChat();
  await begin();
});
byId("theme").addEventListener("click", turnTheme);

listenToKeys({
  n: () => newChat(),
  c: () => (drawers.chats.drawn ? drawers.chats.toggle() : list.focus()),
  b: () => (drawers.map.drawn || drawers.map.side.inert ? drawers.map.toggle() : map.focus()),
  s: () => (drawers.close(), composer.focus()),
  t: turnTheme,
  "/": showShortcuts,
  Escape: () => drawers.close() || (conversation.busy && (conversation.stop(), true)),
});

byId("brand-mark").append(mark());
byId("new-chat").append(icon("plus"), "New chat");
byId("close-chats").append(icon("close"));
byId("open-chats").append(icon("menu"));
byId("open-map").append(icon("branches"));
byId("close-map").append(icon("close"));
byId("feedback").append(icon("download"), "Feedback");
byId("key").append(icon("key"), "Key");
byId("shortcuts").append(icon("keyboard"), "Shortcuts");
drawTheme();
begin();
