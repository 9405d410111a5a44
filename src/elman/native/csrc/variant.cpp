// The time loops for one instruction set: compiled once for each, with its own ELMAN_ISA.
#include "loops.h"

#include <algorithm>
#include <cmath>

#include "cells.h"
#include "tiles.h"
#include "words.h"

namespace elman::ELMAN_ISA {
namespace {

// A thread's share: some rows of the batch, or some units of every row and a barrier each step.
struct Share {
  int64_t row_begin, row_end, begin, end;
  bool alone;  // what other threads make is not needed
};

Share of_units(int64_t B, int64_t units, int64_t step, int thread, int threads) {
  const int64_t steps = (units + step - 1) / step;
  return {0, B, std::min(units, steps * thread / threads * step),
          std::min(units, steps * (thread + 1) / threads * step), threads == 1};
}

// Rows where there are enough of them, and the weights fit into each core's own cache: no thread
// then waits for another. Larger weights are halved instead.
Share share(int64_t B, int64_t H, int gates, bool recurrent, int64_t step, int thread, int threads) {
  constexpr int64_t CACHE = 1 << 20;
  if (recurrent && B >= 8 * threads && gates * H * H * int64_t(sizeof(float)) <= CACHE)
    return {B * thread / threads, B * (thread + 1) / threads, 0, H, true};
  return of_units(B, H, step, thread, threads);
}

template <class C, class T, class E>
void forward(const ElmanForward& f, int thread, int threads, Barrier& barrier) {
  constexpr int NV = panel_vectors<C::G>(), M = most_rows<NV, T>();
  constexpr int64_t per_panel = NV / C::G * W;
  const int64_t B = f.B, H = f.H, GH = C::G * H;
  const Share own = share(B, H, C::G, C::recurrent, per_panel, thread, threads);
  alignas(64) float out[M * NV * W];
  const T* packed = static_cast<const T*>(f.packed);
  E* const gx = static_cast<E*>(f.gx);
  Rows<T> rows_of_h(own.row_begin, own.row_end, H);

  // With resets, h is read from a copy in which forgotten rows are 0.
  auto copy_masked = [&](const float* h, int64_t t, int64_t row) {
    float* to = f.scratch + (t & 1) * B * H + row * H;
    for (int64_t u = own.begin; u < own.end; u++) to[u] = f.keep[t * B + row] ? h[u] : 0;
  };
  if (f.keep) {
    for (int64_t b = own.row_begin; b < own.row_end; b++) copy_masked(f.h_first + b * H, 0, b);
    if (!own.alone) barrier.wait();
  }
  for (int64_t t = 0; t < f.T; t++) {
    const float* h_prev = f.keep ? f.scratch + (t & 1) * B * H
                          : t    ? f.h_all + (t - 1) * B * H
                                 : f.h_first;
    const float* c_prev = t ? f.kept + (t - 1) * f.kept_every : f.c_first;
    if constexpr (C::recurrent) rows_of_h.read(h_prev);
    // There and back, so that what is used last is used first: of weights that are a little larger
    // than a cache most are found there.
    const bool descending = (t & 1) != f.descending;
    const int64_t count = (own.end - own.begin + per_panel - 1) / per_panel;
    for (int64_t n = 0; n < count; n++) {
      const int64_t u = own.begin + (descending ? count - 1 - n : n) * per_panel;
      for_row_blocks<NV, T>(own.row_begin, own.row_end, [&](int64_t first, int rows) {
        if constexpr (C::recurrent)
          tile_rows<NV>(rows, H, rows_of_h.at(first), rows_of_h.stride(),
                        packed + u / per_panel * NV * W * padded<T>(H), out);
        for (int m = 0; m < rows; m++) {
          const int64_t row = first + m, place = t * B + row;
          const bool kept = !f.keep || f.keep[place];
          Forward<E> step{};
          step.scale = f.scale;
          step.bias_ih = f.bias_ih;
          step.bias = f.bias_hh;
          step.gx = gx + place * GH;
          step.kept = f.kept ? f.kept + t * f.kept_every + row * H : nullptr;
          step.h_prev = h_prev + row * H;
          step.c_prev = kept && f.c_first ? c_prev + row * H : nullptr;
          step.H = H;
          for (int q = 0; q < NV / C::G; q++) {
            step.u = u + q * W;
            if (step.u >= H) break;
            step.n = int(std::min<int64_t>(W, H - step.u));
            step.gh = out + (m * NV + q * C::G) * W;
            // The next step's memory comes while this one's products are made.
            for (int g = 0; g < C::G; g++)
              __builtin_prefetch(step.gx + B * GH + g * H + step.u, 1);
            __builtin_prefetch(f.h_all + (place + B) * H + step.u, 1);
            if (step.kept) __builtin_prefetch(step.kept + f.kept_every + step.u, 1);
            store(f.h_all + place * H + step.u, C::forward(step), step.n);
          }
        }
      });
    }
    if (f.keep && t + 1 < f.T)
      for (int64_t b = own.row_begin; b < own.row_end; b++)
        copy_masked(f.h_all + (t * B + b) * H, t + 1, b);
    if (C::recurrent && !own.alone) barrier.wait();
  }
}

template <class C, class T, class E>
void backward(const ElmanBackward& f, int thread, int threads, Barrier& barrier) {
  constexpr int NV = NV_PLAIN, M = most_rows<NV, T>();
  constexpr int64_t per_panel = NV * W;
  const int64_t B = f.B, H = f.H, GH = C::G * H;
  const Share own = share(B, H, C::G, C::recurrent, per_panel, thread, threads);
  alignas(64) float out[M * NV * W];
  const T* packed = static_cast<const T*>(f.packed);
  E *const dgx = static_cast<E*>(f.dgx), *const dgh = static_cast<E*>(f.dgh);
  Rows<T> rows_of_dgh(own.row_begin, own.row_end, GH);

  for (int64_t t = f.T - 1; t >= 0; t--) {
    const float* h_prev = t ? f.h_all + (t - 1) * B * H : f.h_first;
    const float* c_prev = !f.c_first ? nullptr : t ? f.kept + (t - 1) * B * H : f.c_first;
    auto passes = [&](int64_t row) {
      return (!f.keep || f.keep[t * B + row]) && (!f.cut || f.cut[t * B + row]);
    };
    for (int64_t row = own.row_begin; row < own.row_end; row++) {
      const int64_t place = t * B + row;
      const bool kept = !f.keep || f.keep[place];
      Backward<E> step{};
      step.gates = static_cast<const E*>(f.gates) + place * GH;
      step.kept = f.kept ? f.kept + place * H : nullptr;
      step.h = f.h_all + place * H;
      step.h_prev = kept ? h_prev + row * H : nullptr;
      step.c_prev = kept && c_prev ? c_prev + row * H : nullptr;
      step.dgx = dgx + place * GH;
      step.dgh = dgh + place * GH;
      step.dc = f.dc + row * H;
      step.passes = passes(row);
      step.H = H;
      for (step.u = own.begin; step.u < own.end; step.u += W) {
        step.n = int(std::min<int64_t>(W, own.end - step.u));
        float* carried = f.dh + row * H + step.u;
        V through = load(carried, step.n);
        if (f.indirect) store(f.indirect + place * H + step.u, through, step.n);
        V direct = C::backward(step, load(f.dh_all + place * H + step.u, step.n) + through);
        store(carried, C::recurrent || step.passes ? direct : V{}, step.n);
      }
    }
    if constexpr (C::recurrent) {
      if (!own.alone) barrier.wait();
      rows_of_dgh.read(dgh + t * B * GH);
      for (int64_t u = own.begin; u < own.end; u += per_panel)
        for_row_blocks<NV, T>(own.row_begin, own.row_end, [&](int64_t first, int rows) {
          tile_rows<NV>(rows, GH, rows_of_dgh.at(first), rows_of_dgh.stride(),
                        packed + u / per_panel * NV * W * padded<T>(GH), out);
          for (int m = 0; m < rows; m++) {
            const bool on = passes(first + m);
            for (int v = 0; v < NV && u + v * W < H; v++) {
              const int n = int(std::min<int64_t>(W, H - u - v * W));
              float* dh = f.dh + (first + m) * H + u + v * W;
              store(dh, on ? load(dh, n) + load(out + (m * NV + v) * W) : V{}, n);
            }
          }
        });
    }
  }
}

template <class T>
void product(const ElmanProduct& f, int thread, int threads) {
  constexpr int NV = NV_PLAIN, M = most_rows<NV, T>();
  constexpr int64_t per_panel = NV * W;
  const Share own = of_units(f.rows, f.N, per_panel, thread, threads);
  alignas(64) float out[M * NV * W];
  const T* packed = static_cast<const T*>(f.packed);
  Rows<T> rows_of_a(0, f.rows, f.K);
  rows_of_a.read(f.a);
  for (int64_t u = own.begin; u < own.end; u += per_panel)
    for_row_blocks<NV, T>(0, f.rows, [&](int64_t first, int rows) {
      tile_rows<NV>(rows, f.K, rows_of_a.at(first), rows_of_a.stride(),
                    packed + u / per_panel * NV * W * padded<T>(f.K), out);
      for (int m = 0; m < rows; m++)
        for (int v = 0; v < NV && u + v * W < f.N; v++) {
          const int64_t at = u + v * W;
          const int n = int(std::min<int64_t>(W, f.N - at));
          V y = load(out + (m * NV + v) * W);
          if (f.scale) y *= load(f.scale + at, n);
          if (f.bias) y += load(f.bias + at, n);
          store(f.out + (first + m) * f.N + at, y, n);
        }
    });
}

// The logits of a row are read once and written once; between, it lies in the nearest cache.
template <class T>
void softmax(const ElmanSoftmax& f, int thread, int threads) {
  const int64_t N = f.N;
  float* e = f.scratch + thread * N;
  float* dbias = f.dbias ? f.dbias + thread * N : nullptr;
  for (int64_t row = f.rows * thread / threads; row < f.rows * (thread + 1) / threads; row++) {
    T* logits = static_cast<T*>(f.logits) + row * N;
    V most = splat(-__builtin_inff());
    auto tail = [&](int64_t at) { return int(std::min<int64_t>(W, N - at)); };
    for (int64_t at = 0; at < N; at += W) {
      V x = load(logits + at, tail(at));
      if (f.bias) x += load(f.bias + at, tail(at));
      store(e + at, x, tail(at));
      if (tail(at) == W) most = x > most ? x : most;
    }
    float largest = most[0];
    for (int lane = 1; lane < W; lane++) largest = std::max(largest, most[lane]);
    for (int64_t at = N - N % W; at < N; at++) largest = std::max(largest, e[at]);
    const float of_target = e[f.targets[row]];
    V sums{};
    float total = 0;
    for (int64_t at = 0; at < N; at += W) {
      V x = exp(load(e + at, tail(at)) - largest);
      store(e + at, x, tail(at));
      if (tail(at) == W) sums += x;
    }
    for (int lane = 0; lane < W; lane++) total += sums[lane];
    for (int64_t at = N - N % W; at < N; at++) total += e[at];
    f.nats[row] = std::log(total) + (largest - of_target);
    float of_p = 1;  // the share of p in p + q
    if (f.beside) {
      // Of two ways to write log(1 + q / p), the one whose exponential cannot overflow.
      const float odds = f.beside[row] + f.nats[row];
      const float more = std::max(odds, 0.0f) + std::log1p(std::exp(-std::abs(odds)));
      f.nats[row] -= more;
      of_p = std::exp(-more);
    }
    if (!f.gradient) continue;
    const float share = of_p / total;
    e[f.targets[row]] -= total;
    for (int64_t at = 0; at < N; at += W) {
      V d = load(e + at, tail(at)) * share;
      store(logits + at, d, tail(at));
      if (dbias) store(dbias + at, load(dbias + at, tail(at)) + d, tail(at));
    }
  }
}

void softmax_any(const ElmanSoftmax& f, int thread, int threads, Barrier&) {
  f.kind == 0 ? softmax<float>(f, thread, threads) : softmax<uint16_t>(f, thread, threads);
}

void pack_any(const void* weight, int64_t kind, int64_t rows, int64_t columns, int64_t units,
              int64_t gates, int64_t k, void* packed) {
  if (kind == 0)
    pack((const float*)weight, rows, columns, units, int(gates), k, (float*)packed);
  else if (kind == 1)
    pack((const uint16_t*)weight, rows, columns, units, int(gates), k, (uint16_t*)packed);
  else if (kind == 2)
    pack((const int8_t*)weight, rows, columns, units, int(gates), k, (int8_t*)packed);
  else if (kind == 3)
    pack((const Pair*)weight, rows, columns, units, int(gates), k, (Pair*)packed);
  else
    pack((const int8_t*)weight, rows, columns, units, int(gates), k, (Quad*)packed);
}

// In the order of CELL_NAMES in native/library.py.
#define ELMAN_CELLS(DO) DO(0, Rnn) DO(1, Relu) DO(2, Gru) DO(3, Lstm) DO(4, MinGru) DO(5, MinLstm)

template <class C>
void forward_kind(const ElmanForward& f, int thread, int threads, Barrier& barrier) {
  if constexpr (C::recurrent) {
    if (f.kind == 1) return forward<C, uint16_t, float>(f, thread, threads, barrier);
    if (f.kind == 2) return forward<C, int8_t, float>(f, thread, threads, barrier);
    if (f.narrow) return forward<C, Pair, uint16_t>(f, thread, threads, barrier);
    if (f.kind == 3) return forward<C, Pair, float>(f, thread, threads, barrier);
    if (f.kind == 4) return forward<C, Quad, float>(f, thread, threads, barrier);
  }
  forward<C, float, float>(f, thread, threads, barrier);
}

void forward_any(const ElmanForward& f, int thread, int threads, Barrier& barrier) {
  switch (f.cell) {
#define DO(n, C) case n: return forward_kind<C>(f, thread, threads, barrier);
    ELMAN_CELLS(DO)
#undef DO
  }
}

template <class C>
void backward_kind(const ElmanBackward& f, int thread, int threads, Barrier& barrier) {
  if constexpr (C::recurrent) {
    if (f.narrow) return backward<C, Pair, uint16_t>(f, thread, threads, barrier);
    if (f.kind == 3) return backward<C, Pair, float>(f, thread, threads, barrier);
  }
  backward<C, float, float>(f, thread, threads, barrier);
}

void backward_any(const ElmanBackward& f, int thread, int threads, Barrier& barrier) {
  switch (f.cell) {
#define DO(n, C) case n: return backward_kind<C>(f, thread, threads, barrier);
    ELMAN_CELLS(DO)
#undef DO
  }
}

void product_any(const ElmanProduct& f, int thread, int threads, Barrier&) {
  if (f.kind == 0) return product<float>(f, thread, threads);
  if (f.kind == 1) return product<uint16_t>(f, thread, threads);
  if (f.kind == 2) return product<int8_t>(f, thread, threads);
  return product<Quad>(f, thread, threads);
}

int64_t size_any(int64_t kind, int64_t units, int64_t gates, int64_t k) {
  if (kind == 0) return packed_size<float>(units, int(gates), k);
  if (kind == 1) return packed_size<uint16_t>(units, int(gates), k);
  if (kind == 2) return packed_size<int8_t>(units, int(gates), k);
  if (kind == 3) return packed_size<Pair>(units, int(gates), k);
  return packed_size<Quad>(units, int(gates), k);
}

}  // namespace

bool read(const ElmanRead& job);  // read.cpp
bool draw(const ElmanDraw& job);  // draw.cpp

#define ELMAN_NAME_(x) #x
#define ELMAN_NAME(x) ELMAN_NAME_(x)
extern const Variant variant;
#if defined(__wasm__)  // a bot in a page talks, and never learns
const Variant variant = {ELMAN_NAME(ELMAN_ISA), size_any,    pack_any, forward_any, nullptr,
                         product_any,           nullptr,     read,     nullptr};
#else
const Variant variant = {ELMAN_NAME(ELMAN_ISA), size_any,    pack_any,
                         forward_any,           backward_any, product_any, softmax_any,
                         read,                  draw};
#endif

}  // namespace elman::ELMAN_ISA
