// Answers without the net: by rule, as it was taught, and small talk (generate/care.py, taught.py
// and smalltalk.py).

const MAX_CARED_WORDS = 60, MAX_SMALL_TALK_WORDS = 14, MAX_LEAD_IN_WORDS = 5;
const QUESTION_WORDS = new Set("who whom whose what which when where why how".split(" "));
const KIND_WORDS = new Set([...QUESTION_WORDS,
  ..."my mine your yours his her hers their theirs our ours no not never".split(" ")]);
const SAME_KIND = { which: "what", mine: "my", yours: "your", whom: "who" };
const LETTER = "[\\p{L}\\p{N}_]";
const EDGE = `(?:(?<=${LETTER})(?!${LETTER})|(?<!${LETTER})(?=${LETTER}))`;

/** A pattern of Python's, for which any letter is one. */
const pattern = (text) => new RegExp(text.replaceAll("\\b", EDGE).replaceAll("\\w", LETTER), "u");

class Care {
  constructor(rules) {
    this.rules = rules.map(([text, answers]) => [pattern(text), answers]);
  }

  /** `said`: what the bot said lately, the last first, so that answers take turns. */
  answer(text, said) {
    const words = text.toLowerCase().replaceAll("\u2019", "'").split(/\s+/u).filter(Boolean);
    if (words.length > MAX_CARED_WORDS) return null;
    const rule = this.rules.find(([each]) => each.test(words.join(" ")));
    if (!rule) return null;
    const last = said.find((each) => rule[1].includes(each));
    return rule[1][(rule[1].indexOf(last) + 1) % rule[1].length];
  }
}

/** Answers by what was asked; in other words it is known by its telling ones. */
class Taught {
  constructor(pairs, common, names) {
    this.common = common && new Set(common);
    this.names = names;
    this.answers = new Map(pairs.map(([asked, answer]) => [this.key(asked), answer]));
    this.alike = new Map(pairs.map(([asked, answer]) => [this.telling(this.words(asked)), answer]));
    this.alike.delete("");
  }

  answer(asked) {
    const known = this.answers.get(this.key(asked));
    if (known !== undefined) return known;
    const words = this.words(asked);
    for (let begin = 0; begin <= MAX_LEAD_IN_WORDS && begin < words.length; begin++) {
      if (begin && !QUESTION_WORDS.has(words[begin])) continue;
      const found = this.alike.get(this.telling(words.slice(begin)));
      if (found !== undefined) return found;
    }
    return null;
  }

  words(asked) {
    return this.key(asked).split(/\s+/u).filter(Boolean).map((word) => word.split("'")[0]);
  }

  telling(words) {
    if (!this.common) return "";
    const rare = words.filter((word) => !this.common.has(word) && !KIND_WORDS.has(word));
    const kind = words.filter((word) => KIND_WORDS.has(word)).map((word) => SAME_KIND[word] ?? word);
    return rare.length ? [...new Set([...rare, ...kind])].sort().join(" ") : "";
  }

  key(asked) {
    const at = asked.indexOf(": ");
    if (this.names && at > 0 && asked.slice(0, at).trim()) asked = asked.slice(at + 2);
    return wordsOf(asked).join(" ") || asked.trim();
  }
}

// A run of bytes is hashed as numpy does it in 64 bits; of these only the lowest 47 are needed.
const RUN_BYTES = [2, 3, 4], RUN_FACTOR = 1000003n, BUCKETS = 2 ** 18, HASH_BITS = 47, NEWLINE = 10;
const TURNED = Array.from({ length: 5 }, (_, power) => Array.from({ length: 256 }, (_, byte) =>
  Number(BigInt.asUintN(HASH_BITS, BigInt(byte) * RUN_FACTOR ** BigInt(power)))));

/** Returns the buckets of a text's runs of bytes, each once. */
function runs(text) {
  const bytes = utf8.encode(` ${wordsOf(text).join(" ").replaceAll("'", "")} `), found = new Set();
  for (const length of RUN_BYTES) {
    for (let at = 0; at + length <= bytes.length; at++) {
      let code = TURNED[length][length];
      for (let n = 0; n < length; n++) code += TURNED[length - 1 - n][bytes[at + n]];
      code %= 2 ** HASH_BITS;
      found.add((code % BUCKETS) ^ (Math.floor(code / 2 ** 29) % BUCKETS));
    }
  }
  return [...found].sort((a, b) => a - b);
}

/** Answers to what is asked in known ways: the nearest phrasing by tf-idf of runs of bytes. */
class SmallTalk {
  constructor({ threshold, intents, telling }) {
    Object.assign(this, { threshold, intents, telling });
    this.group = new Map(telling.flatMap((words, n) => words.map((word) => [word, n])));
    this.phrasings = intents.flatMap((each, intent) => each.phrasings.map((text) => ({ intent, text })));
    const often = new Uint32Array(BUCKETS);
    for (const each of this.phrasings) {
      each.runs = runs(each.text);
      each.told = this.tellingOf(each.text);
      for (const bucket of each.runs) often[bucket]++;
    }
    this.rarity = Float64Array.from(often, (times) => Math.log((1 + this.phrasings.length) / (1 + times)));
    this.there = new Map();
    this.phrasings.forEach((each, row) => {
      const length = Math.sqrt(each.runs.reduce((sum, bucket) => sum + this.rarity[bucket] ** 2, 0));
      for (const bucket of each.runs) {
        if (!this.there.has(bucket)) this.there.set(bucket, []);
        this.there.get(bucket).push(row, Math.fround(this.rarity[bucket] / Math.max(length, 1e-9)));
      }
    });
  }

  /** Which groups of telling words are in a text. */
  tellingOf(text) {
    const words = new Set(wordsOf(text).flatMap((word) => [word, word.split("'")[0]]));
    return [...new Set([...words].filter((word) => this.group.has(word)).map((word) => this.group.get(word)))]
      .sort((a, b) => a - b).join(" ");
  }

  nearest(text) {
    const buckets = runs(text), alike = new Float64Array(this.phrasings.length), told = this.tellingOf(text);
    for (const bucket of buckets) {
      const there = this.there.get(bucket) ?? [];
      for (let n = 0; n < there.length; n += 2) alike[there[n]] += this.rarity[bucket] * there[n + 1];
    }
    let best = 0;
    this.phrasings.forEach((each, row) => {
      if (each.told !== told) alike[row] = 0;
      if (alike[row] > alike[best]) best = row;
    });
    const length = Math.sqrt(buckets.reduce((sum, bucket) => sum + this.rarity[bucket] ** 2, 0));
    return [this.phrasings[best].intent, alike[best] / Math.max(length, 1e-9)];
  }

  /** `heard`: all that the user said before, or null where that is not known. */
  answer(text, said, heard) {
    const count = wordsOf(text).length;
    if (!count || count > MAX_SMALL_TALK_WORDS) return null;
    const [intent, alike] = this.nearest(text), { answers, untold } = this.intents[intent];
    if (alike < this.threshold) return null;
    const silent = heard && !heard.some((each) => this.tells(each));
    return (silent && untold.length ? untold : answers).find((each) => !said.includes(each)) ?? null;
  }

  tells(message) {
    return !message.trimEnd().endsWith("?") && (!this.telling.length || this.tellingOf(message).split(" ").includes("0"));
  }
}
