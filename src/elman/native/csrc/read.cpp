// Reading tokens with a whole bot in one call: the two memories, as runtime/reference.py says.
#include "output.h"

namespace elman::ELMAN_ISA {
namespace {

constexpr int64_t CHUNK_TOKENS = 512, CHUNK_STEPS = 64;  // of all rows, and of one, at once

// Some tokens of every row: in the memory of messages no further than to the next END.
struct Chunk {
  std::vector<int64_t> from;    // (rows) place among all tokens
  std::vector<int64_t> begins;  // (rows + 1) where each row's lie among those of the chunk
  int64_t total() const { return begins.back(); }
  int64_t length(int64_t row) const { return begins[row + 1] - begins[row]; }
};

struct Reader {
  const ElmanRead& job;
  const ElmanBot& bot;
  const int64_t rows, H;
  std::vector<float*> state;  // what is left of it: each part takes its own

  explicit Reader(const ElmanRead& given)
      : job(given), bot(*given.bot), rows(given.rows), H(given.bot->H) {}

  bool prices() const { return job.wanted >= 2; }
  const int64_t* tokens(const Chunk& c, int64_t row) const { return job.tokens + c.from[row]; }
  bool ends(const Chunk& c, int64_t row) const {
    return c.length(row) && tokens(c, row)[c.length(row) - 1] == END;
  }

  std::unique_ptr<float[]> embedded(const Chunk& c) const {
    auto x = floats(c.total() * H + 1);
    for (int64_t row = 0; row < rows; row++)
      for (int64_t t = 0; t < c.length(row); t++) {
        const int64_t token = tokens(c, row)[t];
        float* to = x.get() + (c.begins[row] + t) * H;
        if (bot.embedding) {
          std::copy_n(bot.embedding + token * H, H, to);
          continue;
        }
        const float scale = bot.embedding_scale[token];
        for (int64_t n = 0; n < H; n++) to[n] = float(bot.embedding_int8[token * H + n]) * scale;
      }
    return x;
  }

  // The record of each row with the chunk's tokens in it; the state after them is written back.
  std::vector<Record> write(const Chunk& c, const float* read, float* const* parts) const {
    const int64_t L = bot.pointer, D = bot.key;
    auto halves = floats(c.total() * 2 * D + 1);
    multiply(*bot.recorded, read, c.total(), halves.get());
    std::vector<Record> records;
    for (int64_t row = 0; row < rows; row++) {
      float *ids = parts[0] + row * L, *keys = parts[1] + row * L * D, *last = parts[2] + row * D;
      const int64_t n = c.length(row);
      Record r{L, D, {ids, ids + L}, {}};
      for (float& id : r.ids)
        if (!(id >= SPECIALS && id < float(bot.V))) id = 0;  // also of a hostile state
      float* to = keys + (L - 1) * D;  // of a single step they stay where they are
      if (n == 1) {
        std::copy(keys + D, keys + L * D, keys);
        r.only = keys;
      } else {
        r.keys.resize((L + n) * D);
        to = std::copy_n(keys, L * D, r.keys.data());
      }
      for (int64_t t = 0; t < n; t++, to += D) {
        const int64_t token = tokens(c, row)[t];
        const float* both = halves.get() + (c.begins[row] + t) * 2 * D;
        r.ids.push_back(token >= SPECIALS ? float(token) : 0);
        for (int64_t d = 0; d < D; d++) to[d] = token >= SPECIALS ? last[d] + both[D + d] : 0;
        std::copy_n(both, D, last);
      }
      std::copy_n(r.ids.data() + n, L, ids);
      if (n != 1) std::copy_n(r.keys.data() + n * D, L * D, keys);
      records.push_back(std::move(r));
    }
    return records;
  }

  // Predicts what is wanted of a chunk, from hidden states, (total, H).
  void say(const Chunk& c, const float* hidden, const std::vector<Record>& records) const {
    std::vector<Query> queries;
    for (int64_t row = 0; row < rows; row++)
      for (int64_t t = 0; t < c.length(row); t++) {
        const int64_t place = c.from[row] + t;
        const bool is_last = place + 1 == job.begins[row + 1];
        Query q{bot.pointer ? &records[row] : nullptr, t, hidden + (c.begins[row] + t) * H,
                nullptr, nullptr, 0};
        if (job.wanted == 1 && is_last) q.logits = job.logits + row * bot.V;
        if (prices() && !is_last) {
          q.target = job.tokens[place + 1];
          if (q.target == END || q.target >= SPECIALS) q.nats = job.nats + place + 1;
        }
        if (q.logits || q.nats) queries.push_back(q);
      }
    if (!queries.empty()) predict(bot, queries, job.wanted != 3);
  }

  void tokens_memory(const Chunk& c) const {
    auto x = embedded(c);
    run(*bot.stack, H, rows, c.begins.data(), x.get(), job.state);
    std::vector<Record> records;
    if (bot.pointer) records = write(c, x.get(), job.state + states(*bot.stack));
    if (job.wanted) say(c, x.get(), records);
  }

  static int64_t states(const ElmanStack& stack) {
    int64_t count = 0;
    for (int64_t l = 0; l < stack.count; l++) count += stack.layers[l].states;
    return count;
  }

  void messages_memory(const Chunk& c) const {
    float* const* conversation = job.state;
    float* context = conversation[states(*bot.stack)];
    float* const* encoder = conversation + states(*bot.stack) + 1;
    float* const* decoder = encoder + states(*bot.encoder);
    float* counts = decoder[states(*bot.decoder)];
    float* const* record = decoder + states(*bot.decoder) + 1;

    // The encoder leaves out the middle of a long message; what it leaves out is zeros to a key.
    auto x = embedded(c), encoded = floats(c.total() * H + 1), read = floats(c.total() * H + 1);
    std::vector<int64_t> begins{0}, places;
    for (int64_t row = 0; row < rows; row++) {
      for (int64_t t = 0; t < c.length(row); t++)
        if (tokens(c, row)[t] == END || counts[row] + float(t) < float(bot.longest - 1))
          places.push_back(c.begins[row] + t);
      begins.push_back(int64_t(places.size()));
    }
    for (size_t n = 0; n < places.size(); n++)
      std::copy_n(x.get() + places[n] * H, H, encoded.get() + n * H);
    run(*bot.encoder, H, rows, begins.data(), encoded.get(), encoder);
    std::fill_n(read.get(), c.total() * H, 0.0f);
    for (size_t n = 0; n < places.size(); n++)
      std::copy_n(encoded.get() + n * H, H, read.get() + places[n] * H);

    // The decoder is told what is remembered; of a message that ends it is needed for its price.
    auto told = floats(rows * H), hidden = floats(c.total() * H + 1);
    multiply(*bot.context, context, rows, told.get());
    std::vector<int64_t> said{0};
    int64_t n = 0;
    for (int64_t row = 0; row < rows; row++) {
      const int64_t length = ends(c, row) && !prices() ? 0 : c.length(row);
      for (int64_t t = 0; t < length; t++, n++)
        each(H, [&](int64_t at, int some) {
          V sum = load(x.get() + (c.begins[row] + t) * H + at, some);
          sum += load(told.get() + row * H + at, some);
          store(hidden.get() + n * H + at, sum, some);
        });
      said.push_back(n);
    }
    run(*bot.decoder, H, rows, said.data(), hidden.get(), decoder);
    std::fill_n(x.get(), c.total() * H, 0.0f);
    for (int64_t row = 0; row < rows; row++)
      std::copy_n(hidden.get() + said[row] * H, (said[row + 1] - said[row]) * H,
                  x.get() + c.begins[row] * H);

    std::vector<Record> records;
    if (bot.pointer) records = write(c, read.get(), record);
    if (job.wanted) say(c, x.get(), records);

    // END: one step of the conversation, and the next message begins with nothing.
    std::vector<int64_t> ended{0};
    auto vectors = floats(rows * H);
    for (int64_t row = 0; row < rows; row++) {
      counts[row] += float(c.length(row));
      ended.push_back(ended.back() + ends(c, row));
      if (ends(c, row))
        std::copy_n(read.get() + (c.begins[row + 1] - 1) * H, H, vectors.get() + ended[row] * H);
    }
    run(*bot.stack, H, rows, ended.data(), vectors.get(), conversation);
    for (int64_t row = 0; row < rows; row++) {
      if (!ends(c, row)) continue;
      std::copy_n(vectors.get() + ended[row] * H, H, context + row * H);
      for (float* const* part = encoder; part != record - 1; part++)
        std::fill_n(*part + row * H, H, 0.0f);
      counts[row] = 0;
    }
  }

  void read() {
    const int64_t steps = std::clamp<int64_t>(CHUNK_TOKENS / std::max<int64_t>(1, rows), 1, CHUNK_STEPS);
    std::vector<int64_t> at(job.begins, job.begins + rows);
    for (;;) {
      Chunk c{at, {0}};
      for (int64_t row = 0; row < rows; row++) {
        int64_t n = 0;
        while (n < steps && at[row] + n < job.begins[row + 1])
          if (job.tokens[at[row] + n++] == END && bot.longest) break;
        at[row] += n;
        c.begins.push_back(c.begins.back() + n);
      }
      if (!c.total()) return;
      bot.longest ? messages_memory(c) : tokens_memory(c);
    }
  }
};

}  // namespace

// Returns whether there was memory enough.
bool read(const ElmanRead& job) {
  try {
    Reader(job).read();
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace elman::ELMAN_ISA
