// From what is clicked and typed to the engine, and from there to what is shown.

const TOO_MANY_BYTES = 1 << 26;
let engine, messages, shown = { path: [], conversations: 1, at: 0 }, busy = true, settings;

/** Takes the characters of the bot out of the page. */
function packedBot() {
  const element = byId("bot");
  element.remove();
  return { text: element.textContent, size: Number(element.dataset.bytes), check: byId("page-end").dataset.check };
}

function notice(text, wrong = false) {
  byId("notice").textContent = text;
  byId("notice").classList.toggle("wrong", wrong);
}

function draw() {
  const asked = shown.path.some(({ role }) => role === "user"), last = shown.path.at(-1);
  const tool = (label, title, action) => h("button", { type: "button", title, onclick: action }, label);
  const tools = asked && last.role !== "state" ? [
    tool(last.role === "user" ? "Reply" : "Another reply", "Another reply to the last message (Alt+R)", again),
    tool("Others", "Replies to choose from", others),
  ] : [];
  messages.show(shown.path, tools);
  byId("intro").hidden = shown.path.length > 0;
  byId("others").hidden = true;
  byId("memory").textContent = `Memory: ${Math.round((shown.bytes ?? 0) / 1024)} KB, ${shown.messages ?? 0} messages`;
  byId("which").hidden = shown.conversations < 2;
  byId("conversations").replaceChildren(...Array.from({ length: shown.conversations }, (_, n) =>
    h("option", { value: n, selected: n === shown.at ? "" : null }, `Conversation ${n + 1}`)));
  enable();
}

function enable() {
  for (const id of ["fork", "begin", "save", "load", "open-settings", "conversations"]) byId(id).disabled = busy;
  byId("undo").disabled = busy || !shown.path.some(({ role }) => role === "user");
  byId("open-card").disabled = !messages;
  byId("send").textContent = busy && messages ? "Stop" : "Send";
  byId("send").disabled = !messages || (!busy && !byId("say").value.trim());
}

/** Has the engine do something, and shows what the conversation is then. */
async function act(method, args, give = null) {
  busy = true;
  notice("");
  enable();
  try {
    shown = await engine.ask(method, args, give);
    return true;
  } catch (error) {
    shown = error.shown ?? shown;
    notice(error.message, true);
    return false;
  } finally {
    busy = false;
    draw();
  }
}

async function speak(method, args, said) {
  await act(method, args, messages.live(said));
  const last = shown.path.at(-1);
  if (last?.role === "bot") byId("announcer").textContent = `${messages.name}: ${last.text}`;
  byId("say").focus();
}

const again = () => speak("again", null, null);

async function others() {
  busy = true;
  enable();
  notice("Drawing replies …");
  try {
    const found = await engine.ask("candidates");
    byId("others").replaceChildren(...found.map(({ tokens, text }) =>
      h("button", { type: "button", onclick: () => act("pick", tokens) }, text)));
    byId("others").hidden = false;
    notice("");
    byId("others").firstElementChild?.focus();
  } catch (error) {
    notice(error.message, true);
  } finally {
    busy = false;
    enable();
  }
}

async function save() {
  const bytes = await engine.ask("save");
  const link = h("a", { href: URL.createObjectURL(new Blob([bytes])), download: `${messages.name.replace(/[^\p{L}\p{N}-]+/gu, "-") || "bot"}.state` });
  link.click();
  URL.revokeObjectURL(link.href);
}

async function load(file) {
  if (file.size > TOO_MANY_BYTES) return notice(`${file.name}: too large for a memory`, true);
  await act("load", { bytes: new Uint8Array(await file.arrayBuffer()), name: file.name });
}

function fillIn({ name, card, cost, how, people, ranking, sampling }) {
  messages = new Messages(name);
  const rounding = cost ? `To fit into this file its weights were rounded; what it says takes ${(100 * cost).toFixed(2)} % more bits so. ` : "";
  const texts = Object.entries({ ...card, "How it runs here": `${rounding}Replies are computed by ${how}.` });
  byId("card-text").append(...texts.flatMap(([title, text]) => [h("h3", {}, title), h("p", {}, text)]));
  byId("say").placeholder = `Say something to ${name}`;
  byId("samples").value = ranking.samples;
  byId("temperature").value = sampling.temperature;
  byId("people").hidden = !people;
  byId("speaker").append(...["", ...(people ?? [])].map((each) => h("option", { value: each }, each || "nobody it knows")));
  document.documentElement.dataset.how = how.split(":")[0];
  return how.startsWith("JavaScript") ? `This bot runs in ${how}.` : "";
}

async function useSettings() {
  const seed = byId("seed").value.trim();
  settings = {
    samples: Number(byId("samples").value), temperature: Number(byId("temperature").value),
    seed: seed || null, speaker: byId("speaker").value || null,
  };
  await act("settings", settings);
}

function listen() {
  const say = byId("say");
  const fit = () => {
    say.style.height = "auto";
    say.style.height = `${say.scrollHeight + 2}px`;
    enable();
  };
  say.addEventListener("input", fit);
  say.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!busy) byId("composer").requestSubmit();
  });
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (busy) return engine.stop();
    const text = say.value;
    if (!text.trim()) return;
    say.value = "";
    fit();
    speak("say", text, text);
  });
  const click = (id, action) => byId(id).addEventListener("click", action);
  click("undo", () => act("undo"));
  click("fork", () => act("fork"));
  click("begin", () => act("begin"));
  click("save", save);
  click("load", () => byId("file").click());
  click("open-card", () => byId("card").showModal());
  click("open-settings", () => byId("settings").showModal());
  byId("settings").addEventListener("submit", useSettings);
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) load(target.files[0]);
    target.value = "";
  });
  byId("conversations").addEventListener("change", ({ target }) => act("go", Number(target.value)));
  const keys = { u: () => byId("undo").click(), f: () => byId("fork").click(), n: () => byId("begin").click(), r: () => !busy && shown.path.length && again() };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && busy) engine?.stop();
    if (!event.altKey) return;
    const key = keys[event.key.toLowerCase()] ?? keys[event.code.slice(-1).toLowerCase()]; // of a Mac
    if (key) event.preventDefault();
    key?.();
  });
}

addEventListener("DOMContentLoaded", async () => {
  if (!byId("page-end")) return; // the file was cut; the script in its head has said so
  notice("The bot is being unpacked …");
  listen();
  try {
    engine = new Engine();
    const told = fillIn(await engine.ask("open", { ...packedBot(), plain: location.hash === "#javascript" }));
    busy = false;
    draw();
    notice(told);
    window.elman = engine; // for whoever scripts the page, and for tests
    document.documentElement.dataset.ready = Math.round(performance.now()); // ms after it was opened
    byId("say").focus();
  } catch (error) {
    notice(error.message, true);
  }
});
