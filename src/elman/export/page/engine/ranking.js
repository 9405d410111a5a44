// Which of several replies is best: generate/rerank.py, penalties.py, match.py and manners.py.

const MAX_DRAWS = 3, REPEATED_SCORE_LOSS = 1.5, CERTAIN_LOG_P = -Math.LN2, CROWD_SHARPNESS = 16;
const GRAM_WORDS = 3, PICKED_FROM = 8;
const A_WORD = /[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[\p{L}\p{N}](?:['\u2019]?[\p{L}\p{N}])*/gu;
const A_QUESTION_MARK = /[?\uff1f\u061f]/;

/** The words of a text in small letters, without punctuation. */
const wordsOf = (text) => text.toLowerCase().match(A_WORD) ?? [];

/** Counts four habits of a reply: its words, its repetitions, and what either side said before. */
function habits(reply, heard, said) {
  const own = wordsOf(reply), grams = [];
  for (let n = 0; n + GRAM_WORDS <= own.length; n++) grams.push(own.slice(n, n + GRAM_WORDS).join(" "));
  return [own.length, grams.length - new Set(grams).size, sharedRun(own, heard), sharedRun(own, said)];
}

/** The most of these words in a row that stand in one of some texts. */
function sharedRun(own, texts) {
  const spoken = texts.map((text) => ` ${wordsOf(text).join(" ")} `).join("\n");
  let most = 0;
  own.forEach((_, begin) => {
    while (begin + most < own.length && spoken.includes(` ${own.slice(begin, begin + most + 1).join(" ")} `)) most++;
  });
  return most;
}

const asMessage = (tokens) => [ROLES.bot, ...tokens, END];
const same = (a, b) => a.length === b.length && a.every((each, n) => each === b[n]);
const dot = (a, b) => a.reduce((sum, each, n) => sum + each * b[n], 0);

/** Two maps that were learned together, by which a reply belongs to what was said or not. */
class Match {
  constructor(arrays) {
    const side = (name) => ({
      centre: arrays[`match.${name}_centre`].data, directions: new Matrix(arrays, `match.${name}_directions`),
    });
    this.asked = side("asked");
    this.answered = side("answered");
    const crowd = new Matrix(arrays, "match.crowd");
    this.crowd = Array.from({ length: crowd.N }, (_, n) => crowd.row(n));
    this.weight = arrays["match.weight"].data[0];
  }

  static map({ centre, directions }, vector) {
    const found = directions.times(vector.map((each, n) => each - centre[n]));
    const length = Math.max(Math.sqrt(dot(found, found)), 1e-12);
    return found.map((each) => each / length);
  }

  /** What the score of each reply gains, of the state after the message and those after the replies. */
  gains(asked, answered) {
    const wanted = Match.map(this.asked, asked);
    return answered.map((vector) => {
      const said = Match.map(this.answered, vector);
      const near = this.crowd.reduce((sum, one) => sum + Math.exp(CROWD_SHARPNESS * dot(said, one)), 0);
      return this.weight * (dot(wanted, said) - Math.log(near / this.crowd.length) / CROWD_SHARPNESS);
    });
  }
}

/** What the score of a reply gains by how the bot differs from people as a whole. */
const mannersGain = ({ asks, often }, text) =>
  (A_QUESTION_MARK.test(text) ? asks : 0) - Math.log1p(Object.hasOwn(often, text) ? often[text] : 0);

/** Draws replies and tells which is best. */
class Ranker {
  constructor(bot) {
    Object.assign(this, bot); // document, decoder, tokenizer, match
  }

  /** Draws replies from a state of one row, and scores them; the best comes first. */
  async candidates(state, params, ranking, seeds, recent, history, breather, ranks = true) {
    const samples = params.temperature ? ranking.samples : 1;
    const first = Array.from({ length: samples }, (_, n) => samples > 1 && n === 0);
    const { decoder, tokenizer } = this, rows = decoder.select(state, first.map(() => 0));
    const every = await drawn(decoder, rows, params, seeds, recent, first, tokenizer.characters, breather);
    const replies = every.filter((one, n) => every.findIndex((each) => same(each.tokens, one.tokens)) === n);
    if (breather.stopped) return [];
    const scores = await this.scores(state, replies, ranking.mmi_weight, ranks, breather);
    return replies.map((reply, n) => ({
      ...reply, score: scores[n], certain: -reply.nats > CERTAIN_LOG_P,
      beyond: ranks ? this.beyond(reply.tokens, history, ranking.limits) : 0,
    })).sort((a, b) => compared(b, a));
  }

  /** ((1 - w) log p + w (log q(reply | history) - log q(reply))) / sqrt(length), and what else it gains. */
  async scores(state, replies, weight, ranks, breather) {
    const { decoder } = this, messages = replies.map((each) => asMessage(each.tokens));
    const costs = (found) => found.nats.map((own) => own.reduce((a, b) => a + b, 0));
    const after = replies.map((each) => -each.nats), zeros = replies.map(() => 0);
    const alone = weight || (ranks && this.match)
      ? decoder.run(messages, decoder.initialState(replies.length), "nats without copies") : null;
    await breather.breathe();
    const given = weight && decoder.copies
      ? costs(decoder.run(messages, decoder.select(state, zeros), "nats without copies")) : after.map((each) => -each);
    await breather.breathe();
    const matched = ranks && this.match
      ? this.match.gains(decoder.vector(state, 0), replies.map((_, row) => decoder.vector(alone.state, row))) : zeros;
    const manners = ranks && this.document.manners
      ? replies.map((each) => mannersGain(this.document.manners, this.tokenizer.decode(each.tokens))) : zeros;
    const unasked = weight ? costs(alone) : zeros;
    return replies.map((reply, n) => {
      const informed = (1 - weight) * after[n] + weight * (unasked[n] - given[n]);
      return informed / Math.sqrt(reply.tokens.length + 1) + matched[n] + manners[n];
    });
  }

  /** By how many words a reply goes beyond what people do; one more where it was said before. */
  beyond(tokens, history, limits) {
    const texts = history.said.map((each) => this.tokenizer.decode(each));
    const counts = habits(this.tokenizer.decode(tokens), history.heard, texts);
    const before = history.said.some((each) => same(each, tokens)) ? 1 : 0;
    return before + counts.reduce((sum, count, n) => sum + Math.max(0, count - limits[n]), 0);
  }

  /** Returns the best of some replies; more are drawn where each goes beyond what people do. */
  async best(state, params, ranking, seeds, recent, history, breather) {
    let found = [];
    for (let round = 0; round < (params.temperature ? MAX_DRAWS : 1) && !breather.stopped; round++) {
      found = found.concat(await this.candidates(state, params, ranking, seeds, recent, history, breather));
      if (found.some((each) => each.certain || !each.beyond)) break;
    }
    const lost = (one) => REPEATED_SCORE_LOSS * history.said.filter((each) => same(each, one.tokens)).length;
    return found.map((each) => ({ ...each, score: each.score - lost(each) }))
      .reduce((a, b) => (a && compared(a, b) >= 0 ? a : b), null);
  }
}

/** What is certain comes first, then what goes beyond no habit, then what scores higher. */
function compared(a, b) {
  return a.certain - b.certain || b.beyond - a.beyond || a.score - b.score;
}
