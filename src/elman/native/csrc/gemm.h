// Products with a weight matrix that was packed once: out[m] = W a[m] for a few rows m.
#pragma once
#include <type_traits>

#include "vec.h"

namespace elman::ELMAN_ISA {

// A packed matrix is a row of panels; a panel holds NV vectors of outputs for every k:
//   [panel][k][v][lane]
// Of a matrix with G gates of `units` rows each, panel p holds at v = q * G + g the gate g of the
// units (p * NV / G + q) * W + lane, so that all gates of a unit come out together.
constexpr int NV_PLAIN = 4;

template <int G>
constexpr int panel_vectors() { return G == 1 ? NV_PLAIN : G; }

inline long panels(long units, int gates) {
  long per_panel = (gates == 1 ? NV_PLAIN : 1) * W;
  return (units + per_panel - 1) / per_panel;
}

// bfloat16 to be multiplied in pairs, where the processor does: two k of a lane lie side by side,
//   [panel][k / 2][v][lane][k % 2]
// and the rows are rounded as well. Elsewhere as uint16_t: only the weights are rounded.
#if defined(__AVX512BF16__)
struct Pair {
  uint16_t bits;
};
#else
using Pair = uint16_t;
#endif

template <class T>
constexpr bool in_pairs() { return std::is_same_v<T, Pair> && !std::is_same_v<T, uint16_t>; }

template <class T>
constexpr long padded(long K) { return in_pairs<T>() ? (K + 1) / 2 * 2 : K; }

template <class T>
long packed_size(long units, int gates, long K) {
  return panels(units, gates) * (gates == 1 ? NV_PLAIN : gates) * W * padded<T>(K);
}

// weight[(g * units + u) * row_stride + k * column_stride]; T is float, uint16_t (bfloat16), Pair
// or int8_t.
template <class T>
void pack(const T* weight, long row_stride, long column_stride, long units, int gates, long K,
          T* packed) {
  const int nv = gates == 1 ? NV_PLAIN : gates;
  const long n = panels(units, gates), step = nv * W;
  for (long p = 0; p < n; p++, packed += step * padded<T>(K)) {
    std::memset(packed, 0, sizeof(T) * step * padded<T>(K));
    for (int v = 0; v < nv; v++)
      for (int lane = 0; lane < W; lane++) {
        const long unit = (p * (nv / gates) + v / gates) * W + lane;
        if (unit >= units) break;
        const T* from = weight + ((v % gates) * units + unit) * row_stride;
        const long at = v * W + lane;
        for (long k = 0; k < K; k++)
          packed[in_pairs<T>() ? k / 2 * step * 2 + at * 2 + k % 2 : k * step + at] =
              from[k * column_stride];
      }
  }
}

// As many rows at a time as their sums and one k's weights fit into the registers.
#if ELMAN_WIDTH == 16
constexpr int REGISTERS = 32;
#elif defined(__aarch64__)
constexpr int REGISTERS = 32;
#else
constexpr int REGISTERS = 16;
#endif

constexpr int AHEAD = 4096;  // bytes

// A row's or a vector's factor passes through one register while the other side's factors stay:
// whichever side is shorter.
template <int NV>
constexpr int most_rows() {
  int rows = 1;
  while (rows < 8 && (rows + 1) * NV + (rows + 1 < NV ? rows + 1 : NV) + 1 <= REGISTERS) rows++;
  return rows;
}

// Ask for weights that come later: further ahead than a processor does by itself.
template <int BYTES>
inline __attribute__((always_inline)) void prefetch(const void* now) {
#pragma GCC unroll 8
  for (int byte = 0; byte < BYTES; byte += 64)
    __builtin_prefetch(static_cast<const char*>(now) + AHEAD + byte);
}

template <int NV, int MR>
inline __attribute__((always_inline)) void put(const V (&sum)[MR][NV], float* out) {
#pragma GCC unroll 16
  for (int m = 0; m < MR; m++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) store(out + (m * NV + v) * W, sum[m][v]);
}

template <int NV, int MR, class T>
inline __attribute__((always_inline)) void tile(long K, const float* a, long lda, const T* b,
                                                float* out) {
  V sum[MR][NV] = {};
  for (long k = 0; k < K; k++) {
    prefetch<NV * W * sizeof(T)>(b);
    if constexpr (MR < NV) {
      V x[MR];
#pragma GCC unroll 16
      for (int m = 0; m < MR; m++) x[m] = splat(a[m * lda + k]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) {
        V weights = load(b + v * W);
#pragma GCC unroll 16
        for (int m = 0; m < MR; m++) sum[m][v] += x[m] * weights;
      }
    } else {
      V weights[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) weights[v] = load(b + v * W);
#pragma GCC unroll 16
      for (int m = 0; m < MR; m++) {
        V x = splat(a[m * lda + k]);
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) sum[m][v] += x * weights[v];
      }
    }
    b += NV * W;
  }
  put<NV, MR>(sum, out);
}

#if defined(__AVX512BF16__)
template <int NV, int MR>
inline __attribute__((always_inline)) void tile(long K, const float* a, long lda, const Pair* b,
                                                float* out) {
  constexpr long BLOCK = 256;
  uint32_t pairs[MR][BLOCK / 2];
  V sum[MR][NV] = {};
  for (long begin = 0; begin < K; begin += BLOCK) {
    const long n = K - begin < BLOCK ? K - begin : BLOCK;
    for (int m = 0; m < MR; m++)
      for (long k = 0; k < n; k += W) {
        V x = load(a + m * lda + begin + k, int(n - k < W ? n - k : W));
        _mm256_storeu_si256((__m256i*)(pairs[m] + k / 2), (__m256i)_mm512_cvtneps_pbh((__m512)x));
      }
    for (long k = 0; k < (n + 1) / 2; k++) {
      __m512bh weights[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) weights[v] = (__m512bh)_mm512_loadu_si512(b + v * W * 2);
      prefetch<NV * W * 4>(b);
#pragma GCC unroll 16
      for (int m = 0; m < MR; m++) {
        const __m512bh x = (__m512bh)_mm512_set1_epi32(int(pairs[m][k]));
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++)
          sum[m][v] = (V)_mm512_dpbf16_ps((__m512)sum[m][v], x, weights[v]);
      }
      b += NV * W * 2;
    }
  }
  put<NV, MR>(sum, out);
}
#endif

// out[(m * NV + v) * W + lane] for `rows` <= most_rows<NV>().
template <int NV, class T>
void tile_rows(int rows, long K, const float* a, long lda, const T* b, float* out) {
  constexpr int M = most_rows<NV>();
  switch (rows) {
#define ELMAN_CASE(R) \
  case R:             \
    if constexpr (R <= M) tile<NV, R>(K, a, lda, b, out); \
    break;
    ELMAN_CASE(1) ELMAN_CASE(2) ELMAN_CASE(3) ELMAN_CASE(4)
    ELMAN_CASE(5) ELMAN_CASE(6) ELMAN_CASE(7) ELMAN_CASE(8)
#undef ELMAN_CASE
  }
}

// Rows in blocks of nearly equal size: 16 as 6 + 5 + 5 and not as 6 + 6 + 4.
template <int NV, class F>
inline void for_row_blocks(long begin, long end, F&& f) {
  long left = (end - begin + most_rows<NV>() - 1) / most_rows<NV>();
  while (begin < end) {
    int rows = int((end - begin + left - 1) / left);
    f(begin, rows);
    begin += rows;
    left--;
  }
}

}  // namespace elman::ELMAN_ISA
