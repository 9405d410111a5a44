"use strict";
// The controls: each shows what the wish says, and changes it.
const box = document.getElementById("lab"), byId = (id) => document.getElementById(`lab-${id}`);
const CHOICES = ["cell", "weights", "windows", "losses", "optimizer", "clip", "lr"];
const quiet = matchMedia("(prefers-reduced-motion: reduce)");
const TICK_MS = 100;
let timer = null;

const tell = (text, where = "said") => { byId(where).textContent = text; };

function show() {
  const { wish } = lab, settings = settingsOf(wish), seen = see();
  CHOICES.forEach((name) => { byId(name).value = String(wish[name]); });
  byId("unfold").max = wish.messages.length;
  byId("unfold").value = wish.unfold;
  byId("unfold-out").textContent = `K = ${wish.unfold}`;
  byId("unfold").setAttribute("aria-valuetext", many(wish.unfold, "message"));
  const figures = { loss: digits(seen.loss), norm: digits(seen.norm),
    scale: digits(seen.scale), walked: seen.walked, updates: lab.history.length };
  for (const [name, value] of Object.entries(figures)) byId(name).textContent = value;
  const width = Math.max(240, byId("drawing").clientWidth);
  byId("drawing").replaceChildren(unfolded(seen, settings, width));
  byId("curve").replaceChildren(curve(lab.history, seen.loss, width));
  byId("tables").replaceChildren(...tables(seen, settings));
  showSteps();
}

// One line for each message: its text, whether a conversation starts there, and away with it.
function showMessages() {
  byId("messages").replaceChildren(...lab.wish.messages.map((text, t) => {
    const said = element("input", { type: "text", maxlength: "24", "aria-label": `Message ${t + 1}`,
      autocomplete: "off" });
    said.value = text;
    said.addEventListener("input", () => edit(t, said.value));
    const fresh = element("input", { type: "checkbox" });
    fresh.checked = t > 0 && lab.wish.resets[t];
    fresh.disabled = t === 0;
    fresh.addEventListener("change", () => {
      act({ resets: lab.wish.resets.map((one, n) => n === t ? fresh.checked : one) });
    });
    const away = element("button", { type: "button", "aria-label": `Remove message ${t + 1}` }, "×");
    away.disabled = lab.wish.messages.length <= 2;
    away.addEventListener("click", () => resize(t));
    return element("li", {}, said, element("label", {}, fresh, " new talk",
      element("span", { class: "unseen" }, ` at message ${t + 1}`)), away);
  }));
  byId("add").disabled = lab.wish.messages.length >= START.most;
}

function edit(t, text) {
  const messages = lab.wish.messages.map((one, n) => n === t ? text : one);
  act({ messages });
}

function resize(without = null) {
  const keep = (_, n) => n !== without, { messages, resets, unfold } = lab.wish;
  const whole = unfold >= messages.length; // "all of it" stays all of it
  const longer = without === null;
  const changed = longer ? [...messages, `message ${messages.length + 1}`] : messages.filter(keep);
  act({ messages: changed, resets: longer ? [...resets, false] : resets.filter(keep),
    unfold: whole ? changed.length : unfold });
  showMessages();
  const left = [...byId("messages").querySelectorAll("input[type=text]")];
  left[longer ? left.length - 1 : Math.min(without, left.length - 1)].focus();
}

function act(changes) {
  choose(changes);
  show();
}

// Begin anew with what an example or an exercise asks for.
function setUp(asked) {
  stop();
  const fresh = freshWish(), messages = asked.messages || fresh.messages;
  lab.wish = { ...fresh, resets: messages.map(() => false), ...asked, messages };
  choose({ messages });
  showMessages();
  byId("result").replaceChildren();
  tell("", "verdict");
  show();
}

function stop() {
  clearInterval(timer);
  timer = null;
  byId("run").textContent = "Train on and on";
  byId("run").setAttribute("aria-pressed", "false");
}

function advance(updates, aloud = true) {
  const fine = train(updates);
  show();
  if (!fine) {
    stop();
    tell(`After ${many(lab.history.length, "update")} the loss or the gradient is no longer a ` +
      "finite number: the weights were thrown too far. Start again, with a smaller rate or a clip.");
  } else if (aloud) {
    tell(`After ${many(lab.history.length, "update")} the loss is ${byId("loss").textContent}.`);
  }
  return fine;
}

function run() {
  if (timer !== null) {
    stop();
    tell(`Stopped: the loss is ${byId("loss").textContent}.`);
  } else if (quiet.matches) advance(100);
  else {
    byId("run").textContent = "Stop";
    byId("run").setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      if (lab.history.length >= MAX_UPDATES) stop();
      else advance(1, false);
    }, TICK_MS);
  }
}

function wire() {
  for (const name of CHOICES)
    byId(name).addEventListener("change", (event) => {
      const { value } = event.target;
      act({ [name]: name === "clip" || name === "lr" ? Number(value) : value });
    });
  byId("unfold").addEventListener("input", (event) => act({ unfold: Number(event.target.value) }));
  byId("add").addEventListener("click", () => resize());
  byId("one").addEventListener("click", () => advance(1));
  byId("twenty").addEventListener("click", () => advance(20));
  byId("hundred").addEventListener("click", () => advance(100));
  byId("run").addEventListener("click", run);
  byId("again").addEventListener("click", () => {
    stop();
    restart();
    show();
    tell(`Started again: the loss is ${byId("loss").textContent}.`);
  });
  for (const button of box.querySelectorAll("[data-setup]"))
    button.addEventListener("click", () => {
      setUp(JSON.parse(button.dataset.setup));
      tell(`Set up: ${lab.wish.cell.toUpperCase()}, the loss is ${byId("loss").textContent}.`);
      if (button.closest("#lab-exercises"))
        byId("desk").scrollIntoView({ behavior: quiet.matches ? "auto" : "smooth" });
    });
}
