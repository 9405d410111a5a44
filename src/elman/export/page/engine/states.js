// A state as a file that `elman chat --state` and /load take, byte for byte as /save writes it:
// safetensors, with digests of what made it (generate/bot.py).

const STATE_FORMAT = 1, MAX_HEADER_BYTES = 1 << 24, STATE_ALIGNED_BYTES = 8;

/** Writes a value as Python's json does. */
function pythonJson(value) {
  if (value && typeof value === "object") {
    return `{${Object.entries(value).map(([name, each]) => `${pythonJson(name)}: ${pythonJson(each)}`).join(", ")}}`;
  }
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const isRecord = (name) => name.includes(".pointer.");

/** Returns the bytes of a state of one row. */
function stateFile(bot, state, messages) {
  const facts = pythonJson({ state: STATE_FORMAT, messages, ...bot.document.made_by });
  const kept = bot.decoder.spec.map(([name], n) => [name, state[n]])
    .filter(([name, part]) => !isRecord(name) || part.some(Boolean)).sort(([a], [b]) => (a < b ? -1 : 1));
  const header = { __metadata__: { elman: facts } };
  let at = 0;
  for (const [name, part] of kept) {
    header[name] = { dtype: "F32", shape: [1, part.length], data_offsets: [at, at += part.byteLength] };
  }
  let text = JSON.stringify(header);
  text += " ".repeat(-utf8.encode(text).length & (STATE_ALIGNED_BYTES - 1));
  const head = utf8.encode(text), found = new Uint8Array(8 + head.length + at);
  new DataView(found.buffer).setUint32(0, head.length, true);
  found.set(head, 8);
  kept.forEach(([name, part]) => {
    found.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), 8 + head.length + header[name].data_offsets[0]);
  });
  return found;
}

/** Returns {state, messages} of such bytes; raises ElmanError where they are no state of this bot. */
function stateOfFile(bot, bytes, name) {
  const wrong = (why) => new ElmanError(`${name}: ${why}`);
  let header, facts, begin;
  try {
    const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    if (size > MAX_HEADER_BYTES) throw new Error("too long");
    begin = 8 + size;
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, begin)));
    facts = JSON.parse(header.__metadata__.elman);
  } catch {
    throw wrong("this is no state of a bot's, or it is damaged");
  }
  if (facts?.state !== STATE_FORMAT) throw wrong("not a saved state of this version of Elman");
  for (const [what, digest] of Object.entries(bot.document.made_by)) {
    if (facts[what] !== digest) {
      throw wrong(`this state was made by other ${what} than those of this bot, and means nothing to it. Load it into the bot that made it`);
    }
  }
  const state = bot.decoder.spec.map(([part, size]) => {
    const stored = header[part];
    if (!stored && isRecord(part)) return new Float32Array(size);
    const [from, to] = stored?.data_offsets ?? [];
    if (stored?.dtype !== "F32" || String(stored.shape) !== `1,${size}` || to - from !== 4 * size || begin + to > bytes.length) {
      throw wrong(`damaged or cut: ${part} is missing or of another size`);
    }
    const found = new Float32Array(bytes.slice(begin + from, begin + to).buffer);
    if (!found.every(Number.isFinite)) throw wrong(`${part} holds numbers that are none`);
    if (part.endsWith(".pointer.ids") && !found.every((id) => Number.isInteger(id) && id >= 0 && id < bot.decoder.size)) {
      throw wrong("its record holds what is no token of this bot's");
    }
    return found;
  });
  const messages = Number.isInteger(facts.messages) && facts.messages >= 0 ? facts.messages : 0;
  return { state, messages };
}
