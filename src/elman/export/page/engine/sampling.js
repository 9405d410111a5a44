// Choosing the tokens of a reply: generate/sampling.py, loops.py, token_draw.py and drawing.py.

const MAX_COPIES = 3, MIN_LOOP_TOKENS = 4, MAX_PERIOD = 1365, MAX_RECENT_TOKENS = 4096;
const LIKELIEST_TOP_P = 1e-9, LEAST_FLOAT = -3.4028234663852886e38;

/** Tells what would begin one more copy of what a reply ends with. */
class LoopDetector {
  constructor() {
    this.said = [];
    this.equal = []; // for each period, how many tokens in a row equal those a period before them
  }

  say(token) {
    const periods = Math.min(this.said.length, MAX_PERIOD);
    for (let period = 1; period <= periods; period++) {
      const same = this.said[this.said.length - period] === token;
      this.equal[period] = same ? (this.equal[period] ?? 0) + 1 : 0;
    }
    this.said.push(token);
  }

  nextCopies() {
    const found = [];
    for (let period = 1; period <= Math.min(this.said.length, MAX_PERIOD); period++) {
      const enough = Math.max(MAX_COPIES * period, MIN_LOOP_TOKENS) - period;
      if ((this.equal[period] ?? 0) >= enough) found.push(this.said[this.said.length - period]);
    }
    return found;
  }
}

/** Chooses the tokens of one reply. */
class ReplySampler {
  constructor(params, recent, characters, seed) {
    Object.assign(this, { params, characters, said: [], left: params.max_tokens });
    this.loops = new LoopDetector();
    this.seen = new Set(recent.slice(-MAX_RECENT_TOKENS).filter((token) => token >= SPECIALS));
    this.points = new Points(seed);
  }

  say(token) {
    this.said.push(token);
    this.left--;
    this.loops.say(token);
    this.seen.add(token);
  }

  /** Returns the next token, by logits that stay as they are. */
  choose(given) {
    const { params, said, left, characters } = this, logits = Float32Array.from(given);
    logits.fill(-Infinity, END + 1, SPECIALS);
    characters.refuse(logits, said, left);
    if (!said.length) logits[END] = -Infinity;
    else this.refuseLoops(logits);
    for (const token of this.seen) {
      const value = logits[token];
      logits[token] = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
    }
    const point = params.temperature > 0 ? this.points.at(said.length) : 0;
    const token = drawToken(logits, params, point);
    return characters.fits(said, token, left) ? token : END;
  }

  refuseLoops(logits) {
    const loops = this.loops.nextCopies(), before = loops.map((token) => logits[token]);
    for (const token of loops) logits[token] = -Infinity;
    if (loops.length && largest(logits) === -Infinity) {
      loops.forEach((token, n) => { logits[token] = before[n]; });
    }
  }
}

/** Draws one token: a temperature of 0 takes the likeliest, -Infinity is never drawn. */
function drawToken(logits, { temperature, top_p: topP, min_p: minP }, point) {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
  if (temperature <= 0) return best;
  const top = logits[best], found = [];
  const least = Math.fround(Math.max(top + temperature * Math.log(minP), LEAST_FLOAT));
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] >= least || id === best) {
      found.push({ id, p: Math.exp(Math.fround(logits[id] - top) / temperature) });
    }
  }
  found.sort((a, b) => b.p - a.p || a.id - b.id);
  let sum = 0;
  for (const each of found) each.upto = sum += each.p;
  let last = 0;
  while (last + 1 < found.length && found[last].upto < topP * sum) last++;
  let at = 0;
  while (at < last && found[at].upto <= point * found[last].upto) at++;
  return found[at].id;
}

/** Lets go of the processor now and then, so that a reply can be stopped and the page stays alive. */
class Breather {
  constructor(everyMs = 30) {
    this.everyMs = everyMs;
    this.last = performance.now();
    this.stopped = false;
  }

  async breathe() {
    if (performance.now() - this.last < this.everyMs) return;
    await new Promise((resolve) => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => { channel.port1.close(); resolve(); };
      channel.port2.postMessage(0);
    });
    this.last = performance.now();
  }
}

/** Makes one reply from a state of one row; gives each token and the state after it, END the last. */
async function* spoken(decoder, state, params, seeds, recent, characters, breather) {
  const sampler = new ReplySampler(params, recent, characters, seeds.next());
  let found = decoder.step([ROLES.bot], state);
  while (sampler.left > 0) {
    const token = sampler.choose(found.logits);
    if (token === END) break;
    sampler.say(token);
    found = decoder.step([token], found.state);
    yield [token, found.state];
    await breather.breathe();
    if (breather.stopped) return;
  }
  yield [END, decoder.step([END], found.state).state];
}

/** Makes a reply in each row: {tokens, nats, state}, in which END is yet to be said. */
async function drawn(decoder, state, params, seeds, recent, likeliest, characters, breather) {
  let found = decoder.step(likeliest.map(() => ROLES.bot), state);
  const samplers = likeliest.map((first) => new ReplySampler(
    first ? { ...params, top_p: LIKELIEST_TOP_P } : params, recent, characters, seeds.next()));
  const replies = likeliest.map(() => ({ nats: 0 }));
  let rows = likeliest.map((_, row) => row);
  while (rows.length && !breather.stopped) {
    const going = [], said = [];
    rows.forEach((row, at) => {
      const logits = found.logits.subarray(at * decoder.size, (at + 1) * decoder.size);
      const sampler = samplers[row], token = sampler.left > 0 ? sampler.choose(logits) : END;
      replies[row].nats -= logSoftmaxAt(logits, token);
      if (token === END) replies[row].state = decoder.select(found.state, [at]);
      else {
        sampler.say(token);
        going.push(at);
        said.push(token);
      }
    });
    if (going.length) {
      const kept = going.length < rows.length ? decoder.select(found.state, going) : found.state;
      found = decoder.step(said, kept);
    }
    rows = going.map((at) => rows[at]);
    await breather.breathe();
  }
  return samplers.map(({ said }, row) => ({ tokens: said, ...replies[row] }));
}
