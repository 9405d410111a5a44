// A bot's forward pass in plain JavaScript, to be read: runtime/reference.py, pointer.py, counts.py.
// It takes over where a browser cannot run compiled code.

const KEY_SIZE = 16, TINY = 1.1754943508222875e-38, TOKEN_BASE = 65536;

/** The name and the size of each array of a state, in order. */
function stateSpec(model) {
  const size = model.hidden_size, spec = [];
  for (const [name, { cell, layers }] of Object.entries(stackShapes(model))) {
    for (let layer = 0; layer < layers; layer++) {
      for (const part of ["h", "c"].slice(0, CELLS[cell].states)) {
        spec.push([`${name === "stack" ? "tokens" : name}.layer${layer}.${part}`, size]);
      }
    }
    if (name === "conversation") spec.push(["context", size]);
  }
  if (model.memory !== "tokens") spec.push(["encoder.tokens", 1]);
  if (model.pointer) {
    spec.push([`${model.memory}.pointer.ids`, model.pointer]);
    spec.push([`${model.memory}.pointer.keys`, model.pointer * KEY_SIZE]);
    spec.push([`${model.memory}.pointer.before`, KEY_SIZE]);
  }
  return spec;
}

/** What both decoders share. A state is an array of Float32Array, (rows * size) each. */
class Decoder {
  constructor(model, arrays) {
    this.model = model;
    this.spec = stateSpec(model);
    this.size = arrays["embedding.weight"].shape[0];
    this.copies = model.pointer > 0;
    this.layerStates = Object.values(stackShapes(model))[0];
    this.layerStates = this.layerStates.layers * CELLS[this.layerStates.cell].states;
  }

  initialState(rows) {
    return this.spec.map(([, size]) => new Float32Array(rows * size));
  }

  select(state, rows) {
    return state.map((part, n) => {
      const size = this.spec[n][1], found = new Float32Array(rows.length * size);
      rows.forEach((row, at) => found.set(part.subarray(row * size, (row + 1) * size), at * size));
      return found;
    });
  }

  /** Returns the layers' numbers of one row, by which states are compared. */
  vector(state, row) {
    const size = this.model.hidden_size, found = new Float32Array(this.layerStates * size);
    for (let n = 0; n < this.layerStates; n++) {
      found.set(state[n].subarray(row * size, (row + 1) * size), n * size);
    }
    return found;
  }

  /** Says a token in each row; returns the logits of the next, (rows * size), and the state. */
  step(tokens, state) {
    return this.run(tokens.map((token) => [token]), state, "logits");
  }
}

class ReferenceDecoder extends Decoder {
  constructor(model, arrays) {
    super(model, arrays);
    this.arrays = arrays;
    this.embedding = new Matrix(arrays, "embedding");
    this.stacks = Object.entries(stackShapes(model)).map(([name, shape]) => new Stack(arrays, name, shape));
    const part = (name) => new Matrix(arrays, `pointer.${name}`);
    if (model.pointer) {
      for (const name of ["query", "before", "itself", "tell", "follow", "sentinel"]) this[name] = part(name);
    }
    if (model.memory === "messages") this.context = new Matrix(arrays, "context");
    if (model.ngrams) this.counts = new Counts(arrays, this.size, model.ngrams);
  }

  /**
   * Reads some tokens in each row, at least one. `wanted` is "state", "logits" (after the last),
   * "nats" (-log p of each but the first) or "nats without copies". The state given stays as it is.
   */
  run(rows, state, wanted) {
    const after = state.map((part) => Float32Array.from(part));
    const logits = new Float32Array(wanted === "logits" ? rows.length * this.size : 0);
    const nats = rows.map((tokens) => new Float64Array(tokens.length));
    rows.forEach((tokens, row) => {
      const own = after.map((part, n) => {
        const size = this.spec[n][1];
        return part.subarray(row * size, (row + 1) * size);
      });
      tokens.forEach((token, t) => {
        const heard = this.read(token, own), next = tokens[t + 1];
        if (wanted === "logits") {
          if (next === undefined) logits.set(this.logits(heard), row * this.size);
        } else if (wanted !== "state" && (next === END || next >= SPECIALS)) {
          const found = this.logits(heard, wanted === "nats");
          nats[row][t + 1] = -logSoftmaxAt(found, next);
        }
      });
    });
    return { logits, nats, state: after };
  }

  /** Reads one token in one row, whose state changes in place; returns what comes next is made of. */
  read(token, state) {
    const x = this.embedding.row(token), pointer = state.slice(state.length - 3);
    if (this.model.memory === "tokens") {
      const hidden = this.stacks[0].step(x, state);
      return this.write(token, hidden, hidden, pointer);
    }
    const [conversation, encoder, decoder] = this.stacks, a = conversation.states;
    const b = a + 1 + encoder.states, c = b + decoder.states;
    const context = state[a], count = state[c], ends = token === END;
    // Of a long message the encoder reads the beginning and END.
    const reads = ends || count[0] < this.model.max_message_tokens - 1;
    const vector = reads ? encoder.step(x, state.slice(a + 1, b)) : new Float32Array(x.length);
    const told = this.context.times(context);
    const hidden = decoder.step(x.map((each, n) => each + told[n] / x.length), state.slice(b, c));
    const heard = this.write(token, vector, hidden, pointer);
    count[0] += 1;
    if (ends) {
      context.set(conversation.step(vector, state.slice(0, a)));
      for (const part of state.slice(a + 1, c + 1)) part.fill(0);
    }
    return heard;
  }

  /** Writes a token into the pointer's record, if there is one: the oldest makes place for it. */
  write(token, read, hidden, [ids, keys, before]) {
    if (!this.model.pointer) return { hidden };
    const oldest = ids[0], text = token >= SPECIALS, own = this.itself.times(read);
    ids.copyWithin(0, 1);
    keys.copyWithin(0, KEY_SIZE);
    ids[ids.length - 1] = text ? token : 0;
    for (let d = 0; d < KEY_SIZE; d++) keys[keys.length - KEY_SIZE + d] = text ? before[d] + own[d] : 0;
    before.set(this.before.times(read));
    return { hidden, ids, keys, oldest };
  }

  /** Returns the logits of the next token; with a pointer log p, unless nothing is mixed in. */
  logits(heard, mixed = true) {
    const output = (hidden) => this.embedding.times(hidden, this.arrays.output_bias.data);
    if (!this.model.pointer) return output(heard.hidden);
    const { shares, gate, hidden } = this.point(heard);
    const found = output(hidden);
    if (!mixed) return found;
    const most = largest(found), p = Float64Array.from(found, (each) => Math.exp(each - most));
    const rate = gate / p.reduce((a, b) => a + b, 0);
    for (let id = 0; id < p.length; id++) p[id] *= rate;
    shares.forEach((share, at) => { p[heard.ids[at]] += share; });
    if (this.counts) this.counts.mix(p, hidden, heard.ids);
    return Float32Array.from(p, (each) => Math.log(Math.max(each, TINY)));
  }

  /** Looks at the record: the share of each token in it, the sentinel's, and what was found there. */
  point({ hidden, ids, keys, oldest }) {
    const L = ids.length, query = this.query.times(hidden), gains = this.follow.times(hidden);
    const scores = new Float64Array(L + 1).fill(-Infinity);
    scores[L] = this.sentinel.times(hidden)[0];
    const earlier = (at) => (at < 0 ? oldest : ids[at]);
    for (let at = 0; at < L; at++) {
      if (!ids[at]) continue;
      let score = 0;
      for (let d = 0; d < KEY_SIZE; d++) score += keys[at * KEY_SIZE + d] * query[d];
      score /= Math.sqrt(KEY_SIZE);
      // What followed here when the last token, and the last two, were said before.
      for (let back = 0; back < Math.min(gains.length, L); back++) {
        const now = earlier(L - 1 - back);
        if (at < back || !now || earlier(at - 1 - back) !== now) break;
        score += gains[back];
      }
      scores[at] = score;
    }
    const most = scores.reduce((a, b) => Math.max(a, b)), shares = scores.map((each) => Math.exp(each - most));
    const total = shares.reduce((a, b) => a + b), looked = new Float32Array(KEY_SIZE);
    for (let at = 0; at <= L; at++) {
      shares[at] /= total;
      if (at < L && shares[at]) for (let d = 0; d < KEY_SIZE; d++) looked[d] += shares[at] * keys[at * KEY_SIZE + d];
    }
    const told = this.tell.times(looked);
    return { shares: shares.subarray(0, L), gate: shares[L], hidden: hidden.map((each, n) => each + told[n]) };
  }
}

/** Counted sequences of one length, as numbers that are looked up (runtime/counts.py). */
function countedTable(arrays, name) {
  const part = (which) => {
    const { data } = arrays[`${name}.${which}`];
    return data instanceof Int16Array ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
  };
  const discount = arrays[`${name}.discount`].data[0], begins = part("begins"), totals = part("totals");
  const seen = part("counts"), counts = Float32Array.from(seen, (each) => Number(each) - discount);
  const left = Float32Array.from(totals, (total, at) => {
    let rare = Number(total);
    for (let n = Number(begins[at]); n < Number(begins[at + 1]); n++) rare -= Number(seen[n]);
    return rare + discount * (Number(begins[at + 1]) - Number(begins[at]));
  });
  return {
    contexts: Float64Array.from(part("contexts"), Number), begins: Int32Array.from(begins, Number),
    totals: Float32Array.from(totals, Number), left, words: Uint16Array.from(part("words"), Number), counts,
  };
}

class Counts {
  constructor(arrays, size, longest) {
    this.gate = new Matrix(arrays, "ngrams.gate");
    this.tables = Array.from({ length: longest }, (_, n) => countedTable(arrays, `ngrams.layers.${n}`));
    const { contexts, totals, left, words, counts } = this.tables[0];
    this.alone = new Float32Array(size).fill(1 / size);
    if (contexts.length) {
      for (let id = 0; id < size; id++) this.alone[id] *= left[0] / totals[0];
      words.forEach((word, at) => { this.alone[word] += counts[at] / totals[0]; });
    }
  }

  /** Mixes the counts into p of every token, in place. */
  mix(p, heard, ids) {
    const z = sigmoid(this.gate.times(heard)[0]);
    for (let id = 0; id < p.length; id++) p[id] *= 1 - z;
    let share = z;
    for (let length = this.tables.length - 1; length > 0; length--) {
      const table = this.tables[length], at = sorted(table.contexts, contextKey(ids, length));
      if (at < 0) continue;
      for (let n = table.begins[at]; n < table.begins[at + 1]; n++) {
        p[table.words[n]] += (share / table.totals[at]) * table.counts[n];
      }
      share *= table.left[at] / table.totals[at];
    }
    for (let id = 0; id < p.length; id++) p[id] += share * this.alone[id];
  }
}

/** Packs the last tokens into a number, the last one lowest; what is before a message is 0. */
function contextKey(ids, length) {
  let key = 0;
  for (let back = 0; back < length && back < ids.length; back++) {
    const token = ids[ids.length - 1 - back];
    if (token < SPECIALS) break;
    key += token * TOKEN_BASE ** back;
  }
  return key;
}

/** Returns the place of a number among ascending ones; -1: it is none of them. */
function sorted(numbers, wanted) {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return numbers[low] === wanted ? low : -1;
}

function largest(numbers) {
  let most = -Infinity;
  for (let n = 0; n < numbers.length; n++) if (numbers[n] > most) most = numbers[n];
  return most;
}

/** Returns log p of one token by logits. */
function logSoftmaxAt(logits, token) {
  const most = largest(logits);
  let sum = 0;
  for (let id = 0; id < logits.length; id++) sum += Math.exp(logits[id] - most);
  return logits[token] - most - Math.log(sum);
}
