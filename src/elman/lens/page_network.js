"use strict";
// The unfolded network of a real conversation: a column for each message.
function network(seen, root) {
  const count = seen.messages.length, last = count - 1, layers = seen.layers.length;
  const box = document.getElementById("columns"), overview = document.getElementById("overview");
  const slider = document.getElementById("unfold"), shown = document.getElementById("unfolded");
  const choice = document.getElementById("layer"), readout = document.getElementById("readout");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const lengths = [...Object.keys(seen.unfoldings || {}).map(Number), Infinity];
  const hasGradient = Boolean(seen.unfoldings);
  const pointing = seen.messages[0].pointer !== undefined;
  const closeFrom = count - seen.close;
  let first = Math.max(0, count - 1 - fits()), picked = null;
  const COLUMN = 204, GUTTER = 150, STATE = 156, CELL = 10;
  function fits() { return Math.max(2, Math.floor((box.clientWidth - 150) / 204)); }
  const layer = () => choice.value === "all" ? null : Number(choice.value);
  const of = (values) => !values ? 0 : layer() === null ? norm(values) : values[layer()];
  const unfold = () => lengths[Number(slider.value)];
  // What comes back to message n from all but the next loss: kept, and cut off.
  function back(n) {
    const length = unfold();
    if (length === Infinity || n < closeFrom || n >= last)
      return { kept: of(seen.messages[n].indirect), lost: 0, edge: false };
    const own = seen.unfoldings[length], place = n - closeFrom;
    return { kept: of(own.indirect[place]), lost: of(own.lost[place]),
      edge: (place + 1) % length === 0 && n < last - 1 };
  }
  function most() {
    return Math.max(1e-12, ...seen.messages.flatMap((m) => [of(m.direct), of(m.indirect)]));
  }
  function wide(value, top) { return value ? 1.2 + 30 * Math.sqrt(value / top) : 0; }
  function wrapped(text, room, rows) {
    const lines = [""];
    for (const word of text.replace(/\s+/g, " ").split(" ")) {
      const now = lines.at(-1);
      if ((now + " " + word).length <= room || !now) lines[lines.length - 1] = (now ? now + " " : "") + word;
      else lines.push(word);
    }
    const cut = lines.map((l) => l.length > room ? l.slice(0, room - 1) + "…" : l).slice(0, rows);
    if (lines.length > rows) cut[rows - 1] = cut[rows - 1].slice(0, room - 1) + "…";
    return cut;
  }
  const rowsOfWeights = () => (seen.weights || []).filter((w) => !/bias/.test(w.name));
  function column(n, place, top, geometry) {
    const m = seen.messages[n], x = GUTTER + COLUMN * place + COLUMN / 2;
    const parts = [rect(x - COLUMN / 2, 0, COLUMN, geometry.height, "hit")];
    const next = seen.messages[n + 1], { state, foot, message, mix, weights } = geometry;
    // The loss of what came next, which this state guessed.
    if (next) {
      const quiet = !next.counts;
      const share = next.nats / Math.max(1e-9, geometry.mostNats);
      const group = node("g", { class: quiet ? "quiet" : "" },
        rect(x - 88, 8, 176, 50, "pill", { rx: 8 }));
      if (!quiet) group.append(rect(x - 82, 48, 164 * share, 6, "bar", { rx: 2 }),
        words(x, 23, `loss ${number(next.nats)}`, "num strong"));
      else group.append(words(x, 23, "not learned", "small"));
      group.append(words(x, 39, wrapped(next.text, 24, 1)[0], "next"));
      group.append(tip(`${who(next)}: ${next.text}\n` +
        (quiet ? "not counted" : `−log p = ${number(next.nats)} nats over ${next.tokens - 1} tokens`)));
      parts.push(group);
    }
    const direct = of(m.direct);
    if (next && next.counts && hasGradient) {
      const w = wide(direct, top);
      parts.push(arrow(x + 22, 62, x + 22, state - 5, w, "direct"),
        words(x + 28 + w / 2, 96, number(direct), "num direct-ink", "start"));
      parts.push(arrow(x - 40, state - 5, x - 40, 62, 2.4, "wire"));
    } else if (next) parts.push(arrow(x - 40, state - 5, x - 40, 62, 2.4, "wire"));
    // The state: some units of each layer, the top layer first.
    const units = m.strip[0].length, left = x - units * CELL / 2;
    m.strip.forEach((values, l) => {
      const y = state + (layers - 1 - l) * 26;
      const dim = layer() !== null && layer() !== l ? 0.25 : 1;
      const row = node("g", { opacity: dim }, tip(`state of ${seen.layers[l]}: norm ${number(m.state[l])}`));
      values.forEach((value, u) => row.append(rect(left + u * CELL, y, CELL, 22, "back"),
        rect(left + u * CELL, y, CELL, 22, value < 0 ? "neg" : "pos",
          { "fill-opacity": Math.min(1, Math.abs(value)).toFixed(2) })));
      row.append(rect(left, y, units * CELL, 22, "state-frame"));
      parts.push(row);
    });
    // Said, and read.
    const lines = wrapped(m.text, 22, 4), high = 30 + 18 * 4;
    parts.push(arrow(x - 40, message - 3, x - 40, foot + 4, 2.4, "wire"));
    parts.push(rect(x - 92, message, 184, high, `bubble ${m.role === "bot" ? "right" : "left"}`, { rx: 14 }));
    parts.push(words(x - 80, message + 15, `${n + 1 + seen.skipped}  ${who(m)}`, "who", "start"));
    lines.forEach((l, k) => parts.push(words(x - 80, message + 36 + 18 * k, l, "heard", "start")));
    if (next && hasGradient) {
      const { kept } = back(n), total = direct + kept;
      if (total > 0) {
        const part = 180 * direct / total;
        parts.push(rect(x - 90, mix, part, 14, "direct"), rect(x - 90 + part, mix, 180 - part, 14, "indirect"),
          words(x, mix + 30, `${percent(kept / total)} from later`, "num small"));
      }
      if (pointing) parts.push(node("g", {}, tip("what replies that looked at this message's tokens send back to them, past all steps between"),
        words(x, mix + 48, number(m.pointer), "num small indirect-ink")));
      rowsOfWeights().forEach((weight, k) => {
        const share = weight.shares[n], y = weights + k * 17;
        parts.push(node("g", {}, tip(`${weight.name}: this message gives ${(100 * share).toFixed(2)} % of its gradient`),
          rect(x - 90, y, 180, 15, "back"),
          rect(share < 0 ? x - 90 * Math.min(1, -share / geometry.mostShare) : x, y,
            90 * Math.min(1, Math.abs(share) / geometry.mostShare), 15, share < 0 ? "neg" : "pos")));
      });
    }
    const made = node("g", { class: "column", tabindex: 0, role: "button", "aria-pressed": String(n === picked),
      "aria-label": `Message ${n + 1 + seen.skipped}, ${who(m)}: ${m.text.slice(0, 80)}. ` +
        (next && hasGradient ? `Direct gradient ${number(direct)}, from later ${number(of(m.indirect))}.` : "") }, ...parts);
    const pick = () => { picked = picked === n ? null : n; draw(); closer(seen, picked, layer()); };
    made.addEventListener("click", pick);
    made.addEventListener("keydown", (e) => {
      if (e.key === "Enter" || e.key === " ") { e.preventDefault(); pick(); box.querySelector('[aria-pressed="true"]')?.focus(); }
    });
    return made;
  }
  function flows(n, place, top, geometry) {
    // From the state of message n + 1 back to that of message n, and the state itself to the right.
    const x1 = GUTTER + COLUMN * place + COLUMN / 2, x2 = x1 + COLUMN, { state, foot } = geometry;
    const units = seen.messages[0].strip[0].length * CELL / 2, parts = [];
    parts.push(arrow(x1 + units + 2, state + 6, x2 - units - 3, state + 6, 2.4, "wire"));
    if (!hasGradient || n + 1 >= last) return parts;
    const { kept, lost, edge } = back(n), y = foot + 24;
    if (lost > 0) parts.push(node("g", {}, tip(`cut off: ${number(lost)}`),
      arrow(x2 + 26, y, edge ? (x1 + x2) / 2 + 12 : x1 + 30, y, wide(kept + lost, top), "gone", !edge)));
    if (kept > 0 && !edge) parts.push(node("g", {}, tip(`from later losses: ${number(kept)}`),
      arrow(x2 + 26, y, x1 + 30, y, wide(kept, top), "indirect")));
    parts.push(node("path", { d: `M${x2 + 26} ${foot + 2} V${y} M${x1 + 30} ${y} V${foot + 2}`, class: "turn" }));
    parts.push(words((x1 + x2) / 2 + (edge ? 52 : 0), y + wide(kept + lost, top) / 2 + 13, edge ? number(lost) : number(kept),
      edge ? "num bad" : "num indirect-ink"));
    if (edge) {
      const x = (x1 + x2) / 2;
      parts.push(line(x, state - 34, x, foot + 36, "cut"), scissors(x, foot + 50));
    }
    return parts;
  }
  function draw(wave = false) {
    const visible = Math.min(count, fits() + 1), top = most();
    first = Math.max(0, Math.min(first, count - visible));
    const state = STATE, foot = state + layers * 26 - 4, message = foot + 74, mix = message + 116;
    const weights = mix + (pointing ? 84 : 52), list = hasGradient ? rowsOfWeights() : [];
    const height = hasGradient ? weights + list.length * 17 + 8 : message + 110;
    const geometry = { height, state, foot, message, mix, weights,
      mostNats: Math.max(...seen.messages.map((m) => m.nats)),
      mostShare: Math.max(1e-9, ...list.flatMap((w) => w.shares.slice(first, first + visible).map(Math.abs))) };
    const width = GUTTER + COLUMN * visible + 6;
    const label = (y, text, kind = "label") => words(4, y, text, kind, "start");
    const labels = [label(22, "guess: what"), label(40, "comes next?"), label(message + 20, "message read"),
      ...seen.layers.map((name, l) => label(state + (layers - 1 - l) * 26 + 11, `state, ${name}`, "label small"))];
    if (hasGradient) labels.push(label(96, "direct", "label direct-ink"), label(foot + 24, "indirect", "label indirect-ink"),
      label(mix + 8, "how much of each", "label small"), ...(pointing ? [label(mix + 48, "through the pointer", "label small")] : []), label(weights - 14, `weights: up to ±${percent(geometry.mostShare)}`, "label small"),
      ...list.map((w, k) => label(weights + k * 17 + 8, short(w.name), "tick")));
    const columns = node("g", {}), between = node("g", {});
    for (let k = 0; k < visible; k++) {
      const made = column(first + k, k, top, geometry);
      if (wave && !calm) made.style.animation = `come .35s ${(k * 0.13).toFixed(2)}s both`;
      columns.append(made);
      if (k + 1 < visible) {
        const flow = node("g", {}, ...flows(first + k, k, top, geometry));
        if (wave && !calm) flow.style.animation = `come .35s ${(visible * 0.13 + (visible - k) * 0.16).toFixed(2)}s both`;
        between.append(flow);
      }
    }
    const drawing = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "group",
      "aria-label": `The network unfolded over messages ${first + 1 + seen.skipped} to ${first + visible + seen.skipped}`,
      style: `width:${width}px;max-width:none` }, ...labels, columns, between);
    box.replaceChildren(drawing);
    say(); paint();
  }
  function say() {
    if (!hasGradient) return;
    const length = unfold();
    shown.value = length === Infinity ? "all messages" : many(length, "message");
    if (length === Infinity) {
      const d = sum(seen.messages.map((m) => of(m.direct))), i = sum(seen.messages.map((m) => of(m.indirect)));
      readout.replaceChildren(`Nothing is cut: ${percent(i / (i + d))} of what reaches the states comes from later losses than the next.`);
    } else {
      readout.replaceChildren("Cut every ", many(length, "message"), ": ",
        element("b", {}, `${percent(seen.unfoldings[length].share)} of the gradient is cut off`),
        ` at the states of the last ${seen.close} messages.` + (first + fits() < closeFrom ? " (Messages before those are shown uncut.)" : ""));
    }
  }
  const paint = painted(overview, (pen, width, height) => {
    const step = width / count, mid = height * 0.45;
    const nats = Math.max(...seen.messages.map((m) => m.nats)), top = most();
    const visible = Math.min(count, fits() + 1);
    pen.fillStyle = color("panel");
    pen.fillRect(first * step, 0, visible * step, height);
    const bar = Math.max(0.7, step * 0.8);
    seen.messages.forEach((m, n) => {
      pen.fillStyle = color("bar");
      const loss = (mid - 6) * m.nats / Math.max(1e-9, nats);
      pen.fillRect(n * step, mid - loss, bar, loss);
      if (!hasGradient) return;
      const { kept, lost } = back(n), room = (height - mid - 4) / 2;
      const d = room * Math.sqrt(of(m.direct) / top), i = room * Math.sqrt(kept / top), l = room * Math.sqrt(lost / top);
      pen.fillStyle = color("direct"); pen.fillRect(n * step, mid + 2, bar, d);
      pen.fillStyle = color("indirect"); pen.fillRect(n * step, mid + 2 + d, bar, i);
      pen.globalAlpha = 0.45;
      pen.fillStyle = color("cut"); pen.fillRect(n * step, mid + 2 + d + i, bar, l);
      pen.globalAlpha = 1;
    });
    pen.strokeStyle = color("ink"); pen.lineWidth = 1.5;
    pen.strokeRect(first * step + 0.75, 0.75, visible * step - 1.5, height - 1.5);
  });
  function go(x) {
    const at = overview.getBoundingClientRect();
    first = Math.round((x - at.left) / at.width * count - fits() / 2);
    draw();
  }
  let held = false;
  overview.addEventListener("pointerdown", (e) => { held = true; overview.setPointerCapture(e.pointerId); go(e.clientX); });
  overview.addEventListener("pointermove", (e) => { if (held) go(e.clientX); });
  overview.addEventListener("pointerup", () => { held = false; });
  overview.addEventListener("keydown", (e) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -fits(), PageDown: fits(), Home: -count, End: count }[e.key];
    if (by === undefined) return;
    e.preventDefault(); first += by; draw();
  });
  seen.layers.forEach((name, l) => { if (layers > 1) choice.append(element("option", { value: l }, name)); });
  if (hasGradient) {
    slider.max = lengths.length - 1; slider.value = slider.max;
    slider.addEventListener("input", () => draw());
    document.getElementById("play").addEventListener("click", () => draw(true));
  } else document.querySelector(".controls").hidden = true;
  choice.addEventListener("change", () => { draw(); closer(seen, picked, layer()); });
  let width = box.clientWidth;
  new ResizeObserver(() => { if (Math.abs(box.clientWidth - width) > 20) { width = box.clientWidth; draw(); } }).observe(box);
  draw();
}
function short(name) {
  return name.replace(/^(stack|conversation|encoder|decoder)\.(\d+)\./, (_, where, n) =>
    `${where === "stack" ? "layer" : where} ${Number(n) + 1} `).replace("weight_", "").replace(/\.weight$/, "");
}
// The tokens of one message: what each cost, and what came back to it.
function closer(seen, n, layer) {
  const box = document.getElementById("close");
  const place = n === null ? -1 : n - (seen.messages.length - seen.tokens.length);
  if (n === null) { box.hidden = true; return; }
  box.hidden = false;
  const m = seen.messages[n], title = element("h3", {}, `Message ${n + 1 + seen.skipped}, ${who(m)}, token by token`);
  if (place < 0) { box.replaceChildren(title, element("p", {}, `Only the last ${seen.tokens.length} messages are kept token by token.`)); return; }
  const own = seen.tokens[place], row = element("div", { class: "tokens" });
  const of = (values) => !values ? 0 : layer === null ? norm(values) : values[layer];
  const top = Math.max(1e-12, ...(own.direct || []).map(of), ...(own.gradient || []).map(of)), cost = Math.max(1e-9, ...own.nats);
  own.pieces.forEach((piece, t) => {
    const direct = own.direct ? of(own.direct[t]) : 0, all = own.gradient ? of(own.gradient[t]) : 0;
    const bars = element("span", { class: "bars" });
    const bar = (kind, share) => { const u = element("u", { class: kind }); u.style.height = `${60 * share}px`; bars.append(u); };
    bar("loss", own.nats[t] / cost);
    if (own.gradient) { bar("direct", direct / top); bar("indirect", all / top); }
    const said = piece || (t === 0 ? "‹" + (m.role) + "›" : "·");
    row.append(element("span", { class: "token", title: `loss ${number(own.nats[t])}` + (own.gradient ? `, own pull ${number(direct)}, whole gradient ${number(all)}` : "") },
      bars, element("i", {}, said)));
  });
  const legend = element("p", { class: "legend" }, element("span", { class: "swatch bar" }), " what guessing it cost ");
  if (own.gradient) legend.append(element("span", { class: "swatch direct" }), " gradient of the state after it from its own loss alone (the guess of the next token) ",
    element("span", { class: "swatch indirect" }), " from all losses");
  box.replaceChildren(title, legend, row);
}
