// Text to tokens and back, and which tokens keep a reply one of whole characters: data/bpe.py,
// data/tokenizer.py and data/characters.py.

const END = 0, ROLES = { user: 1, bot: 2, system: 3 }, SPECIALS = 4;
const WHITE = "\\t\\n\\v\\f\\r\\x20\\x85\\xa0\\u1680\\u2028\\u2029\\u202f\\u205f\\u3000\\u2000-\\u200a";
const WORD = new RegExp(
  `'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^${WHITE}\\p{L}\\p{N}]+|[${WHITE}]+(?![^${WHITE}])|[${WHITE}]+`, "gu",
);

const utf8 = new TextEncoder();
const fromUtf8 = () => new TextDecoder("utf-8", { ignoreBOM: true });

/** A text without halves of characters, as Python would write it. */
function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, "?");
}

class Tokenizer {
  /** `found`: as the tokenizers library writes a byte-level BPE, in JSON. */
  constructor(found) {
    const bytes = byteOfCharacter(), { vocab, merges } = found.model;
    this.begin = found.normalizer ? " " : "";
    this.spelled = Array.from({ length: SPECIALS }, () => new Uint8Array(0));
    for (const [piece, id] of Object.entries(vocab)) {
      this.spelled[SPECIALS + id] = Uint8Array.from(piece, (character) => bytes.get(character));
    }
    this.size = this.spelled.length;
    this.ofByte = [];
    this.spelled.forEach((piece, id) => { if (piece.length === 1) this.ofByte[piece[0]] = id; });
    this.merges = new Map(merges.map(([a, b], rank) => [
      this.pair(SPECIALS + vocab[a], SPECIALS + vocab[b]), [rank, SPECIALS + vocab[a + b]],
    ]));
    this.cached = new Map();
    this.characters = new Characters(this.spelled);
  }

  pair(a, b) {
    return a * 65536 + b;
  }

  encode(text) {
    const found = [];
    for (const [word] of (this.begin + text).matchAll(WORD)) {
      if (!this.cached.has(word)) this.cached.set(word, this.merged(word));
      for (const id of this.cached.get(word)) found.push(id);
    }
    if (this.cached.size > 16384) this.cached.clear();
    return found;
  }

  /** Merges pairs, the earliest merge first and the leftmost of its pairs first. */
  merged(word) {
    let ids = Array.from(utf8.encode(word), (byte) => this.ofByte[byte]);
    for (;;) {
      let best = [Infinity], first = 0, second = 0;
      for (let at = 1; at < ids.length; at++) {
        const merge = this.merges.get(this.pair(ids[at - 1], ids[at]));
        if (merge && merge[0] < best[0]) [best, first, second] = [merge, ids[at - 1], ids[at]];
      }
      if (best[0] === Infinity) return ids;
      const after = [];
      for (let at = 0; at < ids.length; at++) {
        if (ids[at] === first && ids[at + 1] === second) {
          after.push(best[1]);
          at++;
        } else after.push(ids[at]);
      }
      ids = after;
    }
  }

  bytes(ids) {
    const found = ids.flatMap((id) => Array.from(this.spelled[id]));
    return Uint8Array.from(this.begin && found[0] === 32 ? found.slice(1) : found);
  }

  decode(ids) {
    return fromUtf8().decode(this.bytes(Array.from(ids)));
  }

  /** Returns a function that gives the text which each next token completes; none: what is left. */
  decoding() {
    const decoder = fromUtf8();
    let begin = this.begin;
    return (id) => {
      if (id === undefined) return decoder.decode();
      let piece = this.spelled[id];
      if (piece.length && begin) {
        if (piece[0] === 32) piece = piece.subarray(1);
        begin = "";
      }
      return decoder.decode(piece, { stream: true });
    };
  }
}

/** Undoes the alphabet that writes each byte as one printable character (GPT-2). */
function byteOfCharacter() {
  const found = new Map();
  let others = 0;
  for (let byte = 0; byte < 256; byte++) {
    const plain = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    found.set(String.fromCharCode(plain ? byte : 0x100 + others++), byte);
  }
  return found;
}

// For each state which bytes may come, and the state after them: data/characters.py says why.
const STEPS = {
  between: "09-0A:between 20-7E:between C2:C2 C3-DF:one E0:E0 E1:two E2:E2 E3-EC:two ED:ED EE:two EF:EF F0:F0 F1-F3:three F4:F4",
  one: "80-BF:between",
  two: "80-BF:one",
  three: "80-BF:two",
  E0: "A0-BF:one",
  ED: "80-9F:one",
  F0: "90-BF:two",
  F4: "80-8F:two",
  C2: "A0-BF:between",
  E2: "80:E280 81:E281 82-BF:one",
  E280: "80-A9:between AF-BF:between",
  E281: "80-A5:between AA-BF:between",
  EF: "80-BE:one BF:EFBF",
  EFBF: "80-BC:between BE-BF:between",
};
const BETWEEN = 0, BROKEN = Object.keys(STEPS).length, MAX_UNFINISHED_BYTES = 3;

function byteSteps() {
  const names = Object.keys(STEPS);
  const steps = names.map(() => new Uint8Array(256).fill(BROKEN));
  steps.push(new Uint8Array(256).fill(BROKEN));
  Object.values(STEPS).forEach((ranges, state) => {
    for (const each of ranges.split(" ")) {
      const [span, after] = each.split(":"), [first, last] = span.split("-");
      steps[state].fill(names.indexOf(after), parseInt(first, 16), parseInt(last ?? first, 16) + 1);
    }
  });
  return steps;
}

class Characters {
  constructor(spelled) {
    this.spelled = spelled;
    this.steps = byteSteps();
    this.after = this.steps.slice(0, BROKEN).map((_, state) => Uint8Array.from(spelled, (piece) =>
      piece.reduce((now, byte) => this.steps[now][byte], state)));
    this.missing = new Array(BROKEN + 1).fill(BROKEN + 1);
    this.missing[BETWEEN] = 0;
    for (let round = 0; round < MAX_UNFINISHED_BYTES; round++) {
      for (let state = 1; state <= BROKEN; state++) {
        this.missing[state] = 1 + Math.min(...Array.from(this.steps[state], (to) => this.missing[to]));
      }
    }
    this.refused = new Map();
  }

  /** Returns the state after some tokens: that of the last character, if it is not whole. */
  state(said) {
    const last = said.length ? this.spelled[said[said.length - 1]] : [];
    if (last.length && last[last.length - 1] < 128) return BETWEEN;
    const tail = said.slice(-MAX_UNFINISHED_BYTES).flatMap((id) => Array.from(this.spelled[id]));
    return tail.slice(-MAX_UNFINISHED_BYTES).reduce((state, byte) => {
      const after = this.steps[state][byte];
      return after === BROKEN ? this.steps[BETWEEN][byte] % BROKEN : after;
    }, BETWEEN);
  }

  areWhole(said) {
    return this.state(said) === BETWEEN;
  }

  /** Sets what must not come next to -Infinity. */
  refuse(logits, said, left) {
    const state = this.state(said);
    const rest = said.length && state === BETWEEN ? MAX_UNFINISHED_BYTES + 1 : left;
    const limit = Math.min(Math.max(1, rest, this.missing[state]), MAX_UNFINISHED_BYTES + 1);
    const key = state * 8 + limit;
    if (!this.refused.has(key)) {
      const found = [];
      this.after[state].forEach((to, id) => {
        if (this.missing[to] >= limit || (id === END && state !== BETWEEN)) found.push(id);
      });
      this.refused.set(key, found);
    }
    for (const id of this.refused.get(key)) logits[id] = -Infinity;
  }

  /** Says whether a character that begins with a token can be finished in the tokens left. */
  fits(said, token, left) {
    const state = this.state(said);
    return state !== BETWEEN || this.missing[this.after[state][token]] < left;
  }
}
