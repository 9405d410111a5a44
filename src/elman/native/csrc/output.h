// From a hidden state to the next token's distribution: pointer, vocabulary and counts, mixed.
#pragma once
#include <cmath>

#include "stack.h"

namespace elman::ELMAN_ISA {

constexpr int END = 0, SPECIALS = 4, TOKEN_BITS = 16;
constexpr float TINY = 1.17549435e-38f;  // the least p whose logarithm is taken

// Natural logarithm of normal numbers, within 2 units in the last place (Cephes' logf).
inline V log(V x) {
  I bits = reinterpret_cast<I>(x);
  I e = (bits - 0x3f3504f3) >> 23;
  V f = reinterpret_cast<V>(bits - (e << 23)) - 1, exponent = __builtin_convertvector(e, V);
  V z = f * f;
  V p = f * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  p = p * f * z - exponent * 2.12194440e-4f - z * 0.5f;
  return f + p + exponent * 0.693359375f;
}

// The sum of e^(x - the largest).
inline float sum_of_exponentials(const float* x, int64_t size, float* largest) {
  V most = splat(x[0]), sums{};
  *largest = x[0];
  each(size, [&](int64_t at, int n) {
    const V some = load(x + at, n);
    if (n == W) most = some > most ? some : most;
    else for (int lane = 0; lane < n; lane++) *largest = std::max(*largest, some[lane]);
  });
  for (int lane = 0; lane < W; lane++) *largest = std::max(*largest, most[lane]);
  float rest = 0;
  each(size, [&](int64_t at, int n) {
    const V e = exp(load(x + at, n) - *largest);
    if (n == W) sums += e;
    else for (int lane = 0; lane < n; lane++) rest += e[lane];
  });
  return sum(sums) + rest;
}

// What one row has read: the L tokens before some steps and those of the steps, oldest first.
struct Record {
  int64_t length, key;                  // L, D
  std::vector<float> ids, keys;
  const float* only = nullptr;       // the keys of a single step, where `keys` has none

  // The last L tokens, the step's own the last of them, begin at `step + 1`.
  const float* last(int64_t step) const { return ids.data() + step + 1; }
  const float* last_keys(int64_t step) const { return only ? only : keys.data() + (step + 1) * key; }
};

// Calls give(words, counts, n, rate) for what is known after the last tokens, the longest context
// first; returns the share that is left to tokens after nothing.
template <class F>
inline float counted(const ElmanBot& bot, const float* now, F&& give) {
  int64_t keys[8] = {};
  int64_t known = 0;
  for (; known + 1 < bot.orders && known < bot.pointer && now[-known] >= SPECIALS; known++)
    keys[known + 1] = keys[known] | int64_t(now[-known]) << (TOKEN_BITS * known);
  for (int64_t n = known + 1; n < bot.orders; n++) keys[n] = keys[known];
  float share = 1;
  for (int64_t n = bot.orders - 1; n > 0; n--) {
    const ElmanTable& t = bot.tables[n];
    const int64_t* found = std::lower_bound(t.contexts, t.contexts + t.size, keys[n]);
    if (found == t.contexts + t.size || *found != keys[n]) continue;
    const int64_t at = found - t.contexts, begin = t.begins[at];
    give(t.words + begin, t.counts + begin, t.begins[at + 1] - begin, share / t.totals[at]);
    share *= t.left[at] / t.totals[at];
  }
  return share;
}

// Attention over the record from one step: shares (L), and what was looked at, (D). Returns the
// sentinel's share. `looking`: query, follow, sentinel of this step.
inline float look(const Record& record, int64_t step, const float* looking, float* shares,
                  float* looked) {
  const int64_t L = record.length, D = record.key;
  const float *ids = record.last(step), *earlier = ids - 1;
  const float* keys = record.last_keys(step);
  const float *follow = looking + D, sentinel = looking[D + 2];
  float most = sentinel;
  for (int64_t p = 0; p < L; p++) {
    if (ids[p] == 0) continue;
    V products{};
    each(D, [&](int64_t at, int n) { products += load(looking + at, n) * load(keys + p * D + at, n); });
    float score = sum(products);
    const float now = ids[L - 1], before = L > 1 ? ids[L - 2] : 0;
    if (now != 0 && earlier[p] == now) {
      score += follow[0];
      if (p > 0 && before != 0 && earlier[p - 1] == before) score += follow[1];
    }
    shares[p] = score;
    most = std::max(most, score);
  }
  float total = std::exp(sentinel - most);
  const float gate = total;
  each(L, [&](int64_t at, int n) {
    V e = exp(load(shares + at, n) - most);
    e = load(ids + at, n) == 0 ? V{} : e;
    store(shares + at, e, n);
    total += sum(e);
  });
  std::fill_n(looked, D, 0.0f);
  for (int64_t p = 0; p < L; p++) {
    if (shares[p] == 0) continue;
    shares[p] /= total;
    for (int64_t d = 0; d < D; d++) looked[d] += shares[p] * keys[p * D + d];
  }
  return gate / total;
}

// A step from which the next token is predicted.
struct Query {
  const Record* record;  // of its row; null without a pointer
  int64_t step;             // among those of the record
  const float* hidden;   // (H)
  float* logits;         // out, (V); or null:
  double* nats;          // out, of `target`
  int64_t target;
};

// log p where the record alone is mixed in: of most tokens a sum, and a logarithm of those read.
// `shift` is what makes a logit of the row the log of its share.
inline void mix(const ElmanBot& bot, const Query& q, const float* shares, float shift, float* row) {
  const V least = splat(std::log(TINY));
  each(bot.V, [&](int64_t at, int n) {
    const V own = load(row + at, n) + shift;
    store(q.logits + at, own > least ? own : least, n);
  });
  const float* ids = q.record->last(q.step);
  for (int64_t at = 0; at < bot.pointer; at++) row[int64_t(ids[at])] = 0;
  for (int64_t at = 0; at < bot.pointer; at++) row[int64_t(ids[at])] += shares[at];
  int64_t places[W], count = 0;
  auto add = [&] {
    V p{}, own{};
    for (int64_t n = 0; n < count; n++) own[n] = q.logits[places[n]], p[n] = row[places[n]];
    own = log(exp(own) + p);
    for (int64_t n = 0; n < count; n++) q.logits[places[n]] = own[n], row[places[n]] = 0;
    count = 0;
  };
  for (int64_t at = 0; at < bot.pointer; at++) {
    const int64_t id = int64_t(ids[at]);
    if (id == 0 || row[id] == 0) continue;
    places[count++] = id;
    if (count == W) add();
  }
  add();
}

// Turns a row of logits into what a query wants: log p of all where a pointer is mixed in.
inline void finish(const ElmanBot& bot, const Query& q, bool mixed, const float* shares, float gate,
                   const float* counts_gate, float* row) {
  const int64_t V_ = bot.V, L = bot.pointer;
  if (!mixed && q.logits) {
    std::copy_n(row, V_, q.logits);
    return;
  }
  float largest;
  const float total = sum_of_exponentials(row, V_, &largest);
  if (!mixed) {
    *q.nats = double(std::log(total)) + (largest - row[q.target]);
    return;
  }
  const float* ids = q.record->last(q.step);
  if (q.logits && !counts_gate) return mix(bot, q, shares, std::log(gate / total) - largest, row);
  // z and 1 - z, the shares of the counts and of the net.
  const float z = counts_gate ? 1 / (1 + std::exp(-*counts_gate)) : 0;
  const float rest = counts_gate ? 1 / (1 + std::exp(*counts_gate)) : 1;
  if (!q.logits) {
    float p = std::exp(row[q.target] - largest) * (gate / total);
    for (int64_t at = 0; at < L; at++) p += ids[at] == q.target ? shares[at] : 0;
    if (counts_gate) {
      float found = 0;
      const float left = counted(bot, ids + L - 1, [&](auto words, auto counts, int64_t n, float rate) {
        const auto word = std::lower_bound(words, words + n, q.target);
        if (word != words + n && *word == q.target) found += rate * counts[word - words];
      });
      p = rest * p + z * (found + left * bot.alone[q.target]);
    }
    *q.nats = -std::log(double(std::max(p, TINY)));
    return;
  }
  each(V_, [&](int64_t at, int n) {
    store(row + at, exp(load(row + at, n) - largest) * (gate / total * rest), n);
  });
  for (int64_t at = 0; at < L; at++)
    if (ids[at] != 0) row[int64_t(ids[at])] += shares[at] * rest;
  const float left = counted(bot, ids + L - 1, [&](auto words, auto counts, int64_t n, float rate) {
    for (int64_t at = 0; at < n; at++) row[words[at]] += z * rate * counts[at];
  });
  each(V_, [&](int64_t at, int n) {
    const V p = load(row + at, n) + load(bot.alone + at, n) * (z * left);
    store(q.logits + at, log(p > TINY ? p : splat(TINY)), n);
  });
}

// mixed: with the shares of the pointer and of the counts, where there are some
inline void predict(const ElmanBot& bot, const std::vector<Query>& queries, bool mixed) {
  constexpr int64_t BLOCK = 32;  // rows of logits that exist at once
  const int64_t H = bot.H, L = bot.pointer, D = bot.key, count = int64_t(queries.size());
  const int64_t block = std::min(BLOCK, count);
  auto heard = floats(block * H), told = floats(block * H), rows = floats(block * bot.V);
  auto looking = floats(block * (D + 3)), looked = floats(block * D), shares = floats(block * (L + 1));
  auto gates = floats(block), counts = floats(block);
  for (int64_t begin = 0; begin < count; begin += BLOCK) {
    const int64_t n = std::min(BLOCK, count - begin);
    const Query* query = queries.data() + begin;
    for (int64_t i = 0; i < n; i++) std::copy_n(query[i].hidden, H, heard.get() + i * H);
    if (L) {
      multiply(*bot.looking, heard.get(), n, looking.get());
      for (int64_t i = 0; i < n; i++)
        gates[i] = look(*query[i].record, query[i].step, looking.get() + i * (D + 3),
                        shares.get() + i * L, looked.get() + i * D);
      multiply(*bot.tell, looked.get(), n, told.get());
      each(n * H, [&](int64_t at, int some) {
        store(heard.get() + at, load(heard.get() + at, some) + load(told.get() + at, some), some);
      });
    }
    multiply(*bot.output, heard.get(), n, rows.get());
    if (bot.orders) multiply(*bot.gate, heard.get(), n, counts.get());
    for (int64_t i = 0; i < n; i++)
      finish(bot, query[i], mixed && L, shares.get() + i * L, gates[i],
             bot.orders ? counts.get() + i : nullptr, rows.get() + i * bot.V);
  }
}

}  // namespace elman::ELMAN_ISA
