// What the page asks of the engine, one message at a time: {id, method, args}. It answers with
// {id, piece}, as often as there is one, and then with {id, result} or {id, error}.

const MAX_OPENING_SAMPLES = 8; // until somebody wants more: each reply is waited for

/** Returns a function that takes messages; `post` sends what is answered. */
function engine(post) {
  let session, breather = new Breather();

  const shown = () => ({
    path: session.path.map(({ id, role, text, depth, origin }) => ({ id, role, text, depth, origin })),
    conversations: session.heads.length,
    at: session.at,
    bytes: session.head.state.reduce((sum, part) => sum + part.byteLength, 0),
    messages: session.head.depth,
  });

  const methods = {
    async open(give, { text, check, size, plain }) {
      const packed = fromCharacters(text).subarray(0, size);
      if (packed.length !== size || crc32(packed) !== check) {
        throw new ElmanError("This file was cut or changed on its way, so the bot in it cannot be trusted. Get it again.");
      }
      const { document, arrays } = await unpacked(packed), tokenizer = new Tokenizer(document.tokenizer);
      const { decoder, how } = decoderOf(document.config.model, arrays, plain);
      if (decoder instanceof ReferenceDecoder) document.ranking.samples = 1;
      document.ranking.samples = Math.min(document.ranking.samples, MAX_OPENING_SAMPLES);
      const match = arrays["match.weight"] ? new Match(arrays) : null;
      session = new Session({ document, decoder, tokenizer, match, fixed: new Fixed(document, tokenizer) });
      setTimeout(() => session.bot.fixed.prepare());
      const { name, card, cost, people, ranking, sampling } = document;
      return { name, card, cost, how, people, ranking, sampling };
    },
    say: (give, text) => session.say(text, give, breather),
    again: (give) => session.again(give, breather),
    undo: () => session.undo(),
    fork: () => session.fork(),
    begin: () => session.begin(),
    go: (give, at) => { session.at = at; },
    pick: (give, tokens) => session.pick(tokens, breather),
    load: (give, { bytes, name }) => session.load(bytes, name),
    candidates: () => session.candidates(breather),
    save: () => session.save(),
    settings(give, { samples, seed, speaker, ...params }) {
      Object.assign(session.ranking, { samples });
      Object.assign(session.params, params);
      session.speaker = speaker;
      session.seed(seed);
    },
    /** Takes the likeliest tokens after a message, so that tests can compare them with Python's. */
    likeliest(give, { asked, count }) {
      const { decoder, tokenizer } = session.bot, tokens = [];
      let found = decoder.run([[ROLES.user, ...tokenizer.encode(asked), END]], decoder.initialState(1), "state");
      found = decoder.step([ROLES.bot], found.state);
      while (tokens.length < count) {
        tokens.push(found.logits.indexOf(largest(found.logits)));
        found = decoder.step(tokens.slice(-1), found.state);
      }
      return tokens;
    },
  };
  const giveBack = new Set(["open", "candidates", "save", "likeliest"]);

  return async ({ id, method, args }) => {
    if (method === "stop") {
      breather.stopped = true;
      return;
    }
    breather = new Breather();
    try {
      const result = await methods[method]((piece) => { if (piece) post({ id, piece }); }, args);
      post({ id, result: giveBack.has(method) ? result : shown() });
    } catch (error) {
      const told = error instanceof ElmanError ? error.message : `This went wrong in the page itself: ${error?.stack ?? error}`;
      post({ id, error: told, shown: session ? shown() : null });
    }
  };
}

/** Returns the compiled decoder, or the plain one where that does not run, and which it is in words. */
function decoderOf(model, arrays, plain) {
  let why = "as was asked for";
  if (!plain) {
    try {
      const library = new Library(arrays["elman.wasm"].data);
      return { decoder: new CompiledDecoder(model, arrays, library), how: "WebAssembly" };
    } catch (error) {
      if (error instanceof ElmanError) throw error;
      why = typeof WebAssembly === "undefined" ? "this browser has no WebAssembly" : "this browser has no WebAssembly with SIMD";
    }
  }
  return { decoder: new ReferenceDecoder(model, arrays), how: `JavaScript: ${why}; replies take longer` };
}

if (typeof WorkerGlobalScope !== "undefined") {
  const take = engine((message) => postMessage(message));
  onmessage = ({ data }) => take(data);
}
