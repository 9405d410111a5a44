// Layers over rows of different lengths: norms, products and the loops of loops.h put together.
#pragma once
#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "bot.h"
#include "loops.h"
#include "vec.h"

namespace elman::ELMAN_ISA {

extern const Variant variant;

inline std::unique_ptr<float[]> floats(int64_t n) { return std::unique_ptr<float[]>(new float[n]); }

inline void multiply(const ElmanMatrix& m, const float* x, int64_t rows, float* out) {
  ElmanProduct job{};
  job.rows = rows, job.N = m.N, job.K = m.K, job.threads = 1, job.kind = m.kind;
  job.a = x, job.packed = m.packed, job.scale = m.scale, job.bias = m.bias, job.out = out;
  Barrier alone(1);
  variant.product(job, 0, 1, alone);
}

inline float sum(V x) {
  float total = 0;
  for (int lane = 0; lane < W; lane++) total += x[lane];
  return total;
}

// Calls f(place, n) for n numbers at a time, W but at the end.
template <class F>
inline void each(int64_t size, F&& f) {
  for (int64_t at = 0; at < size; at += W) f(at, int(std::min<int64_t>(W, size - at)));
}

inline void norm(const float* weight, const float* bias, const float* x, int64_t rows, int64_t H,
                 float* out) {
  constexpr float EPSILON = 1e-5f;
  for (int64_t row = 0; row < rows; row++, x += H, out += H) {
    V total{}, squares{};
    each(H, [&](int64_t at, int n) { total += load(x + at, n); });
    const float mean = sum(total) / float(H);
    each(H, [&](int64_t at, int n) {
      store(out + at, load(x + at, n) - mean, n);
      V d = load(out + at, n);
      squares += d * d;
    });
    const float scale = 1 / std::sqrt(sum(squares) / float(H) + EPSILON);
    each(H, [&](int64_t at, int n) {
      store(out + at, load(out + at, n) * scale * load(weight + at, n) + load(bias + at, n), n);
    });
  }
}

// Rows of different lengths, the longest first, so that those that go on are the first ones.
struct Ragged {
  int64_t total = 0, longest = 0;
  std::vector<int64_t> order, lengths, places;  // places: of step t and row i, (step after step)

  // begins: (rows + 1), where the steps of each row lie, row after row
  Ragged(int64_t rows, const int64_t* begins) : order(rows) {
    auto length = [&](int64_t row) { return begins[row + 1] - begins[row]; };
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return length(a) > length(b); });
    for (int64_t row : order) lengths.push_back(length(row));
    total = begins[rows];
    longest = rows ? lengths[0] : 0;
    for (int64_t t = 0; t < longest; t++)
      for (int64_t i = 0; i < active(t); i++) places.push_back(begins[order[i]] + t);
  }
  int64_t active(int64_t t) const {
    int64_t rows = 0;
    while (rows < int64_t(order.size()) && lengths[rows] > t) rows++;
    return rows;
  }
};

// x (total, H), row after row, becomes the output; state: (rows, H) each, in place.
inline void run(const ElmanStack& stack, int64_t H, int64_t rows, const int64_t* begins, float* x,
                float* const* state) {
  const Ragged ragged(rows, begins);
  const int64_t N = ragged.total;
  if (!N) return;
  int64_t most = H;
  for (int64_t l = 0; l < stack.count; l++) {
    most = std::max(most, int64_t(stack.layers[l].ih->N));
    if (stack.layers[l].up) most = std::max(most, int64_t(stack.layers[l].up->N));
  }
  auto own = floats(N * H), normed = floats(N * H), h = floats(N * H), wide = floats(N * most);
  auto first = floats(rows * H), second = floats(rows * H);
  for (int64_t n = 0; n < N; n++) std::copy_n(x + ragged.places[n] * H, H, own.get() + n * H);
  Barrier alone(1);
  for (int64_t l = 0; l < stack.count; l++) {
    const ElmanLayer& layer = stack.layers[l];
    norm(layer.norm_weight, layer.norm_bias, own.get(), N, H, normed.get());
    multiply(*layer.ih, normed.get(), N, wide.get());
    auto move = [&](float* sorted, float* given, bool back) {
      for (int64_t i = 0; i < rows; i++) {
        float *a = sorted + i * H, *b = given + ragged.order[i] * H;
        back ? std::copy_n(a, H, b) : std::copy_n(b, H, a);
      }
    };
    move(first.get(), state[0], false);
    if (layer.states > 1) move(second.get(), state[1], false);
    ElmanForward job{};
    job.cell = layer.cell, job.T = 1, job.H = H, job.threads = 1;
    job.kept = second.get(), job.h_first = first.get();
    if (layer.states > 1) job.c_first = second.get();
    if (layer.hh) {
      job.kind = layer.hh->kind, job.packed = layer.hh->packed;
      job.scale = layer.hh->scale, job.bias_hh = layer.hh->bias;
    }
    int64_t begin = 0;
    for (int64_t t = 0; t < ragged.longest; t++, begin += job.B) {
      job.B = ragged.active(t), job.descending = t & 1;
      job.gx = wide.get() + begin * layer.ih->N, job.h_all = h.get() + begin * H;
      variant.forward(job, 0, 1, alone);
      std::copy_n(job.h_all, job.B * H, first.get());
    }
    move(first.get(), state[0], true);
    if (layer.states > 1) move(second.get(), state[1], true);
    state += layer.states;
    each(N * H, [&](int64_t at, int n) {
      store(own.get() + at, load(own.get() + at, n) + load(h.get() + at, n), n);
    });
    if (!layer.up) continue;
    norm(layer.mlp_norm_weight, layer.mlp_norm_bias, own.get(), N, H, normed.get());
    multiply(*layer.up, normed.get(), N, wide.get());
    const int64_t width = layer.down->K;
    for (int64_t n = 0; n < N; n++) {  // in place: a row's result begins where its gate did, or before
      const float* from = wide.get() + n * 2 * width;
      each(width, [&](int64_t at, int some) {
        V gate = load(from + at, some), value = load(from + width + at, some);
        store(wide.get() + n * width + at, gate * sigmoid(gate) * value, some);
      });
    }
    multiply(*layer.down, wide.get(), N, h.get());
    each(N * H, [&](int64_t at, int n) {
      store(own.get() + at, load(own.get() + at, n) + load(h.get() + at, n), n);
    });
  }
  norm(stack.norm_weight, stack.norm_bias, own.get(), N, H, normed.get());
  for (int64_t n = 0; n < N; n++) std::copy_n(normed.get() + n * H, H, x + ragged.places[n] * H);
}

}  // namespace elman::ELMAN_ISA
