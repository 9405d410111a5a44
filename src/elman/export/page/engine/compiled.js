// A bot's forward pass in the compiled library: runtime/compiled.py and native/library.py, for a
// library that was built for WebAssembly, where an address has four bytes.

const CELL_NAMES = ["rnn", "relu", "gru", "lstm", "mingru", "minlstm"];
const FLOAT32 = 0, INT8_QUADS = 4, WANTED = ["state", "logits", "nats", "nats without copies"];

// The structs of bot.h: int64 first, then addresses.
const STRUCTS = {
  read: ["rows wanted", "bot tokens begins state logits nats"],
  bot: ["V H pointer key orders longest",
    "embedding output recorded looking tell gate context stack encoder decoder tables alone embedding_int8 embedding_scale"],
  matrix: ["N K kind", "packed scale bias"],
  layer: ["cell states", "norm_weight norm_bias ih hh mlp_norm_weight mlp_norm_bias up down"],
  stack: ["count", "layers norm_weight norm_bias"],
  table: ["size", "contexts begins totals left words counts"],
};

function structBytes(kind) {
  const [integers, addresses] = STRUCTS[kind].map((names) => names.split(" ").length);
  return 8 * integers + 8 * Math.ceil(addresses / 2);
}

/** The compiled library with its memory. */
class Library {
  /** Raises an error where this browser cannot run it. */
  constructor(bytes) {
    const module = new WebAssembly.Module(bytes), imports = {};
    for (const { module: place, name } of WebAssembly.Module.imports(module)) {
      imports[place] = { ...imports[place], [name]: () => 0 }; // what only a program would need
    }
    this.functions = new WebAssembly.Instance(module, imports).exports;
    this.functions._initialize?.();
    for (const [kind, number] of Object.entries({ read: 4, bot: 6, matrix: 7, layer: 8, stack: 9, table: 10 })) {
      if (Number(this.functions.elman_struct_size(number)) !== structBytes(kind)) throw new Error(`${kind} is of another version`);
    }
    if (!this.functions.elman_use(this.put(utf8.encode("simd128\0")))) throw new Error("no simd128");
  }

  take(bytes) {
    const address = this.functions.malloc(Math.max(bytes, 16));
    if (!address) throw new ElmanError("There is too little memory for this bot.");
    return address;
  }

  /** Copies an array there; returns its address. */
  put(array) {
    const address = this.take(array.byteLength);
    this.at(array.constructor, address, array.length).set(array);
    return address;
  }

  at(Kind, address, length) {
    return new Kind(this.functions.memory.buffer, address, length);
  }

  /** Makes a struct of some kind there, or an array of several; returns its address. */
  struct(kind, ...values) {
    const address = this.take(structBytes(kind) * values.length);
    values.forEach((each, n) => this.fill(kind, address + n * structBytes(kind), each));
    return address;
  }

  fill(kind, address, values) {
    const [integers, addresses] = STRUCTS[kind].map((names) => names.split(" "));
    const view = new DataView(this.functions.memory.buffer);
    integers.forEach((name, n) => view.setBigInt64(address + 8 * n, BigInt(values[name] ?? 0), true));
    addresses.forEach((name, n) => view.setUint32(address + 8 * integers.length + 4 * n, values[name] ?? 0, true));
  }
}

class CompiledDecoder extends Decoder {
  constructor(model, arrays, library) {
    super(model, arrays);
    this.library = library;
    this.arrays = arrays;
    this.bot = this.build();
    this.arrays = null;
    this.job = library.take(structBytes("read"));
    this.room = [0, 0];
  }

  run(rows, state, wanted) {
    const { library } = this, total = rows.reduce((sum, own) => sum + own.length, 0), begins = [0n];
    for (const own of rows) begins.push(begins[begins.length - 1] + BigInt(own.length));
    const wantsLogits = wanted === "logits", wantsNats = wanted.startsWith("nats");
    const sizes = [8 * total, 8 * begins.length, 4 * state.length, ...state.map((part) => part.byteLength),
      wantsLogits ? 4 * rows.length * this.size : 0, wantsNats ? 8 * total : 0].map((size) => (size + 15) & ~15);
    const places = this.reserve(sizes), parts = places.slice(3, 3 + state.length);
    library.at(BigInt64Array, places[0], total).set(rows.flatMap((own) => Array.from(own, BigInt)));
    library.at(BigInt64Array, places[1], begins.length).set(begins);
    library.at(Uint32Array, places[2], state.length).set(parts);
    state.forEach((part, n) => library.at(Float32Array, parts[n], part.length).set(part));
    const [logits, nats] = places.slice(-2);
    library.at(Float64Array, nats, wantsNats ? total : 0).fill(0);
    library.fill("read", this.job, {
      rows: rows.length, wanted: WANTED.indexOf(wanted), bot: this.bot, tokens: places[0], begins: places[1],
      state: places[2], logits, nats,
    });
    if (!library.functions.elman_read(this.job)) throw new ElmanError("There is too little memory for this bot.");
    const found = library.at(Float64Array, nats, wantsNats ? total : 0).slice();
    return {
      logits: library.at(Float32Array, logits, wantsLogits ? rows.length * this.size : 0).slice(),
      nats: wantsNats ? rows.map((own, n) => found.subarray(Number(begins[n]), Number(begins[n]) + own.length)) : [],
      state: state.map((part, n) => library.at(Float32Array, parts[n], part.length).slice()),
    };
  }

  /** Returns addresses of so many bytes each, which the next call takes back. */
  reserve(sizes) {
    const bytes = sizes.reduce((a, b) => a + b, 0);
    if (bytes > this.room[1]) {
      if (this.room[0]) this.library.functions.free(this.room[0]);
      this.room = [this.library.take(bytes), bytes];
    }
    let at = this.room[0];
    return sizes.map((size) => (at += size) - size);
  }

  build() {
    const { model, library, arrays } = this, size = model.hidden_size, bot = { V: this.size, H: size };
    const floats = new Float32Array(this.size * size), embedding = new Matrix(arrays, "embedding");
    for (let id = 0; id < this.size; id++) floats.set(embedding.row(id), id * size);
    bot.embedding = library.put(floats);
    bot.output = this.matrix("embedding", arrays.output_bias.data);
    if (model.pointer) {
      bot.pointer = model.pointer;
      const zeros = new Float32Array(KEY_SIZE), bias = (name) => arrays[`pointer.${name}.bias`].data;
      bot.recorded = this.exact(["pointer.before", "pointer.itself"]);
      bot.looking = this.exact(["pointer.query", "pointer.follow", "pointer.sentinel"],
        Float32Array.of(...zeros, ...bias("follow"), ...bias("sentinel")), [1 / Math.sqrt(KEY_SIZE), 1, 1]);
      bot.tell = this.exact(["pointer.tell"]);
    }
    bot.key = KEY_SIZE;
    if (model.ngrams) {
      const counts = new Counts(arrays, this.size, model.ngrams);
      bot.orders = model.ngrams;
      bot.gate = this.exact(["ngrams.gate"], arrays["ngrams.gate.bias"].data);
      bot.alone = library.put(counts.alone);
      bot.tables = library.struct("table", ...counts.tables.map((table) => ({
        size: table.contexts.length, contexts: library.put(BigInt64Array.from(table.contexts, BigInt)),
        begins: library.put(table.begins), totals: library.put(table.totals), left: library.put(table.left),
        words: library.put(table.words), counts: library.put(table.counts),
      })));
    }
    const stacks = Object.fromEntries(Object.entries(stackShapes(model)).map(([name, shape]) => [name, this.stack(name, shape)]));
    if (model.memory === "messages") {
      bot.longest = model.max_message_tokens;
      bot.context = this.exact(["context"], null, [1 / size]);
      Object.assign(bot, { encoder: stacks.encoder, decoder: stacks.decoder, stack: stacks.conversation });
    } else bot.stack = stacks.stack;
    return library.struct("bot", bot);
  }

  stack(name, { cell, layers }) {
    const { library } = this, norms = (of) => [`${of}.weight`, `${of}.bias`].map((each) => library.put(this.arrays[each].data));
    const every = Array.from({ length: layers }, (_, n) => {
      const own = `${name}.layers.${n}`, kind = CELLS[cell], layer = { cell: CELL_NAMES.indexOf(cell), states: kind.states };
      [layer.norm_weight, layer.norm_bias] = norms(`${own}.norm`);
      layer.ih = this.matrix(`${own}.cell.weight_ih`, this.arrays[`${own}.cell.bias_ih`].data);
      if (kind.recurrent) layer.hh = this.matrix(`${own}.cell.weight_hh`, this.arrays[`${own}.cell.bias_hh`].data, kind.gates);
      if (this.arrays[`${own}.mlp.up.weight`]) {
        [layer.mlp_norm_weight, layer.mlp_norm_bias] = norms(`${own}.mlp.norm`);
        layer.up = this.matrix(`${own}.mlp.up`);
        layer.down = this.matrix(`${own}.mlp.down`);
      }
      return layer;
    });
    const [weight, bias] = norms(`${name}.norm`);
    return library.struct("stack", { count: layers, layers: library.struct("layer", ...every), norm_weight: weight, norm_bias: bias });
  }

  /** Packs small matrices as one, in float32. */
  exact(names, bias = null, factors = names.map(() => 1)) {
    const parts = names.map((name) => new Matrix(this.arrays, name)), K = parts[0].K;
    const floats = new Float32Array(K * parts.reduce((sum, each) => sum + each.N, 0));
    let at = 0;
    parts.forEach((part, which) => {
      for (let n = 0; n < part.N; n++, at += K) floats.set(part.row(n).map((each) => each * factors[which]), at);
    });
    return this.packed(floats, FLOAT32, floats.length / K, K, 1, null, bias);
  }

  matrix(name, bias = null, gates = 1) {
    const { data, scale, N, K } = new Matrix(this.arrays, name);
    return this.packed(data, scale ? INT8_QUADS : FLOAT32, N, K, gates, scale, bias);
  }

  packed(data, kind, N, K, gates, scale, bias) {
    const { library } = this, { elman_packed_size: sizeOf, elman_pack: pack, free } = library.functions;
    const of = [kind, N / gates, gates, K].map(BigInt);
    const from = library.put(data), packed = library.take(Number(sizeOf(...of)) * (kind === INT8_QUADS ? 1 : 4));
    pack(from, of[0], BigInt(K), 1n, of[1], of[2], of[3], packed);
    free(from);
    return library.struct("matrix", {
      N, K, kind, packed, scale: scale ? library.put(scale) : 0, bias: bias ? library.put(bias) : 0,
    });
  }
}
