// Conversations whose memory is a value: chat/session.py and generate/replier.py. Every message is
// kept with the state after it, so that going back, another reply and a fork are look-ups.

const HISTORY_MESSAGES = 10, PIECE_TOKENS = 64, MAX_READ_TOKENS = 8192;

class Session {
  /** `bot`: {document, decoder, tokenizer, match, fixed}. */
  constructor(bot) {
    this.bot = bot;
    this.ranker = new Ranker(bot);
    this.start = { id: 0, depth: 0, role: "start", text: "", state: bot.decoder.initialState(1), parent: null };
    this.nodes = [this.start];
    this.heads = [this.start]; // of each conversation
    this.at = 0; // which of them it is
    this.params = { ...bot.document.sampling };
    this.ranking = { ...bot.document.ranking };
    this.speaker = null;
    this.seed(null);
  }

  get head() {
    return this.heads[this.at];
  }

  seed(seed) {
    this.seeds = seed === null ? new Seeds() : new Seeds(BigInt(seed));
  }

  /** Returns the messages so far, the first one first. */
  get path() {
    const found = [];
    for (let node = this.head; node.parent; node = node.parent) found.unshift(node);
    return found;
  }

  add(role, text, tokens, state, depth = this.head.depth + 1) {
    const node = { id: this.nodes.length, role, text, tokens, state, depth, parent: this.head };
    this.nodes.push(node);
    this.heads[this.at] = node;
    return node;
  }

  /** Replies to a message; `give` gets pieces of text as they are made. */
  async say(text, give, breather) {
    text = wellFormed(text);
    if (!text.trim()) throw new ElmanError("There is nothing in the message.");
    if (this.speaker) text = `${this.speaker}: ${text}`;
    const tokens = this.bot.tokenizer.encode(text);
    const state = await this.read([ROLES.user, ...tokens, END], this.head.state, breather);
    if (state) {
      this.add("user", text, tokens, state);
      await this.reply(give, breather);
    }
  }

  /** Gives another reply to the last message. */
  async again(give, breather) {
    const last = this.head;
    if (!["user", "bot"].includes(last.role)) throw new ElmanError("There is nothing to answer again yet.");
    if (last.role === "bot") this.heads[this.at] = last.parent;
    if (!await this.reply(give, breather, last.role === "bot" ? last : null)) this.heads[this.at] = last;
  }

  /** Forgets the last message of the user's and its reply. */
  undo() {
    const asked = this.path.filter((node) => node.role === "user");
    if (!asked.length) throw new ElmanError("There is nothing to undo yet.");
    this.heads[this.at] = asked[asked.length - 1].parent;
  }

  /** Begins another conversation with all that was said in this one, and goes on there. */
  fork() {
    this.at = this.heads.push(this.head) - 1;
  }

  begin() {
    this.at = this.heads.push(this.start) - 1;
  }

  /** Draws other answers to the last message, the best first. */
  async candidates(breather) {
    const asked = this.asked(), history = this.history(asked);
    const ranking = { ...this.ranking, samples: Math.max(PICKED_FROM, this.ranking.samples) };
    const found = await this.ranker.candidates(asked.state, this.params, ranking, this.seeds,
      history.said[0] ?? [], history, breather, false);
    return found.filter((each) => each.tokens.length).slice(0, PICKED_FROM)
      .map(({ tokens }) => ({ tokens, text: this.bot.tokenizer.decode(tokens) }));
  }

  /** Has the bot have said something else to the last message. */
  async pick(tokens, breather) {
    const asked = this.asked(), state = await this.read(asMessage(tokens), asked.state, breather);
    this.heads[this.at] = asked;
    this.add("bot", this.bot.tokenizer.decode(tokens), tokens, state);
  }

  asked() {
    const found = this.head.role === "bot" ? this.head.parent : this.head;
    if (found.role !== "user") throw new ElmanError("There is nothing to answer yet: say something first.");
    return found;
  }

  /** Returns a state as a file; `load` goes on from one. */
  save() {
    return stateFile(this.bot, this.head.state, this.head.depth);
  }

  load(bytes, name) {
    const { state, messages } = stateOfFile(this.bot, bytes, name);
    this.begin();
    this.add("state", name, [], state, messages);
  }

  /** Reads a message; of one that is too long, its role and its end. Returns null where it was stopped. */
  async read(message, state, breather) {
    if (this.bot.document.config.model.memory !== "tokens") return this.bot.decoder.run([message], state, "state").state;
    if (message.length > MAX_READ_TOKENS) message = [message[0], ...message.slice(1 - MAX_READ_TOKENS)];
    for (let at = 0; at < message.length; at += PIECE_TOKENS) {
      state = this.bot.decoder.run([message.slice(at, at + PIECE_TOKENS)], state, "state").state;
      await breather.breathe();
      if (breather.stopped) return null;
    }
    return state;
  }

  /** What was said last, up to a message that is to be answered. */
  history(asked) {
    const nodes = [];
    for (let node = asked; node.parent && nodes.length < HISTORY_MESSAGES; node = node.parent) nodes.push(node);
    const first = nodes[nodes.length - 1];
    return {
      heard: nodes.filter((node) => node.role === "user").map((node) => node.text),
      said: nodes.filter((node) => node.role === "bot").map((node) => node.tokens),
      asked: asked.role === "user" ? asked.text : null,
      whole: first.parent === this.start && nodes.every((node) => node.role !== "state"),
    };
  }

  /** Says a reply and keeps it, as far as it came; returns whether there is one. */
  async reply(give, breather, last = null) {
    const asked = this.head, history = this.history(asked), recent = history.said[0] ?? [];
    if (last) history.said = [...history.said, last.tokens];
    const { decoder, tokenizer } = this.bot, decoding = tokenizer.decoding();
    let said = [], state = null, whole = 0, origin = this.bot.fixed.answer(history);
    if (!origin && this.ranking.samples > 1 && this.params.temperature > 0) {
      const best = await this.ranker.best(asked.state, this.params, this.ranking, this.seeds, recent, history, breather);
      if (!best || breather.stopped) return false;
      origin = { tokens: best.tokens, state: decoder.step([END], best.state).state, origin: "best" };
    }
    if (origin) {
      said = origin.tokens;
      for (const token of said) give(decoding(token));
      state = origin.state ?? await this.read(asMessage(said), asked.state, new Breather());
    } else {
      for await (const [token, reached] of spoken(
        decoder, asked.state, this.params, this.seeds, recent, tokenizer.characters, breather)) {
        state = reached;
        if (token === END) break;
        said.push(token);
        if (tokenizer.characters.areWhole(said)) [whole, state] = [said.length, reached];
        give(decoding(token));
      }
      if (breather.stopped) {
        said = said.slice(0, whole);
        if (!said.length) return false;
        state = await this.read(asMessage(said), asked.state, new Breather());
      }
    }
    give(decoding());
    const node = this.add("bot", tokenizer.decode(said), said, state);
    node.origin = origin?.origin ?? "drawn";
    return true;
  }
}

/** Answers without the net, in the order in which they are asked for. */
class Fixed {
  constructor(document, tokenizer) {
    const { care, small_talk: smallTalk, taught, common, config } = document;
    this.tokenizer = tokenizer;
    this.care = care.length ? new Care(care) : null;
    this.taught = new Taught(taught, common, config.data.others === "names");
    this.given = smallTalk;
  }

  /** Does what takes a while, so that the first reply need not wait for it. */
  prepare() {
    if (this.given) this.smallTalk ??= new SmallTalk(this.given);
  }

  answer(history) {
    if (history.asked === null) return null;
    const said = history.said.map((tokens) => this.tokenizer.decode(tokens));
    const found = (text, origin) => (text === null ? null : { tokens: this.tokenizer.encode(text), origin });
    const before = history.whole ? history.heard.slice(1) : null;
    this.prepare();
    return found(this.care?.answer(history.asked, said) ?? null, "rule")
      ?? found(this.taught.answer(history.asked), "taught")
      ?? found(this.smallTalk?.answer(history.asked, said, before) ?? null, "small talk");
  }
}
