// Products with a weight matrix that was packed once: out[m] = W a[m] for a few rows m.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
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

// Memory that begins with a line of the cache.
constexpr std::align_val_t LINE{64};
struct DeleteLines {
  void operator()(void* p) const { ::operator delete(p, LINE); }
};
template <class T>
using Lines = std::unique_ptr<T, DeleteLines>;
template <class T>
Lines<T> lines(size_t bytes) {
  return Lines<T>(static_cast<T*>(::operator new(bytes, LINE)));
}

inline int64_t panels(int64_t units, int gates) {
  int64_t per_panel = (gates == 1 ? NV_PLAIN : 1) * W;
  return (units + per_panel - 1) / per_panel;
}

// bfloat16 to be multiplied in pairs, where the processor does: two k of a lane lie side by side,
//   [panel][k / 2][v][lane][k % 2]
// and the rows are rounded as well. Elsewhere as uint16_t: only the weights are rounded. Where
// whole tiles are multiplied, k is filled up to theirs.
#if defined(__AVX512BF16__)
struct Pair {
  uint16_t bits;
};
#else
using Pair = uint16_t;
#endif

// int8 to be multiplied in fours in the same way: quads.h; in WebAssembly in pairs: words.h. Elsewhere
// only the weights are rounded.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define ELMAN_QUADS
struct Quad {
  uint8_t above_least;  // 128 more than the weight
  Quad& operator=(int8_t weight) { return above_least = uint8_t(weight + 128), *this; }
};
#elif defined(__wasm_simd128__)
#define ELMAN_WORDS
struct Quad {
  int8_t weight;
  Quad& operator=(int8_t given) { return weight = given, *this; }
};
#else
using Quad = int8_t;
#endif

#if defined(__AMX_BF16__) && defined(__AMX_INT8__)
#define ELMAN_TILES
#endif

enum class Factor { FLOATS, PAIRS, QUADS };

template <class T>
constexpr Factor factor() {
  if (std::is_same_v<T, Pair> && !std::is_same_v<T, uint16_t>) return Factor::PAIRS;
  if (std::is_same_v<T, Quad> && !std::is_same_v<T, int8_t>) return Factor::QUADS;
  return Factor::FLOATS;
}

// Whether they are multiplied in whole tiles: tiles.h.
template <class T>
constexpr bool in_tiles() {
#if defined(ELMAN_TILES)
  return factor<T>() != Factor::FLOATS;
#else
  return false;
#endif
}

// How many k of a lane lie side by side.
template <class T>
constexpr int64_t side_by_side() {
#if defined(ELMAN_WORDS)
  if (factor<T>() == Factor::QUADS) return 2;
#endif
  return factor<T>() == Factor::QUADS ? 4 : factor<T>() == Factor::PAIRS ? 2 : 1;
}

constexpr int TILE_ROWS = 16;

// How many k a tile has.
template <class T>
constexpr int64_t tile_k() { return side_by_side<T>() * TILE_ROWS; }

template <class T>
constexpr int64_t padded(int64_t K) {
  const int64_t step = in_tiles<T>() ? tile_k<T>() : side_by_side<T>();
  return (K + step - 1) / step * step;
}

template <class T>
int64_t packed_size(int64_t units, int gates, int64_t K) {
  return panels(units, gates) * (gates == 1 ? NV_PLAIN : gates) * W * padded<T>(K);
}

// weight[(g * units + u) * row_stride + k * column_stride]; T is float, uint16_t (bfloat16), Pair,
// int8_t or Quad; of a Quad the weights come as int8_t.
template <class T, class Given>
void pack(const Given* weight, int64_t row_stride, int64_t column_stride, int64_t units, int gates,
          int64_t K, T* packed) {
  constexpr int64_t side = side_by_side<T>();
  const int nv = gates == 1 ? NV_PLAIN : gates;
  const int64_t n = panels(units, gates), step = nv * W;
  for (int64_t p = 0; p < n; p++, packed += step * padded<T>(K)) {
    std::memset(static_cast<void*>(packed), 0, sizeof(T) * step * padded<T>(K));
    for (int v = 0; v < nv; v++)
      for (int lane = 0; lane < W; lane++) {
        const int64_t unit = (p * (nv / gates) + v / gates) * W + lane;
        if (unit >= units) break;
        const Given* from = weight + ((v % gates) * units + unit) * row_stride;
        const int64_t at = v * W + lane;
        for (int64_t k = 0; k < K; k++)
          packed[k / side * step * side + at * side + k % side] = from[k * column_stride];
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
constexpr int rows_in_registers() {
  int rows = 1;
  while (rows < 8 && (rows + 1) * NV + (rows + 1 < NV ? rows + 1 : NV) + 1 <= REGISTERS) rows++;
  return rows;
}

template <int NV, class T>
constexpr int most_rows() {
  if (in_tiles<T>()) return factor<T>() == Factor::QUADS ? 2 * TILE_ROWS : TILE_ROWS;
#if defined(ELMAN_WORDS)
  if (factor<T>() == Factor::QUADS) return 1;
#endif
  return rows_in_registers<NV>();
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
inline __attribute__((always_inline)) void tile(int64_t K, const float* a, int64_t lda, const T* b,
                                                float* out) {
  V sum[MR][NV] = {};
  for (int64_t k = 0; k < K; k++) {
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
inline __attribute__((always_inline)) void tile(int64_t K, const float* a, int64_t lda, const Pair* b,
                                                float* out) {
  constexpr int64_t BLOCK = 256;
  uint32_t pairs[MR][BLOCK / 2];
  V sum[MR][NV] = {};
  for (int64_t begin = 0; begin < K; begin += BLOCK) {
    const int64_t n = K - begin < BLOCK ? K - begin : BLOCK;
    for (int m = 0; m < MR; m++)
      for (int64_t k = 0; k < n; k += W) {
        V x = load(a + m * lda + begin + k, int(n - k < W ? n - k : W));
        _mm256_storeu_si256((__m256i*)(pairs[m] + k / 2), (__m256i)_mm512_cvtneps_pbh((__m512)x));
      }
    for (int64_t k = 0; k < (n + 1) / 2; k++) {
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

// The rows of a product, from `begin` to `end`. Floats are read where they are, unless they are to
// be rounded before.
template <class T, Factor = in_tiles<T>() || factor<T>() == Factor::QUADS ? factor<T>() : Factor::FLOATS>
struct Rows {
  Rows(int64_t begin, int64_t end, int64_t K) : begin_(begin), end_(end), K_(K) {}
  void read(const float* a) { a_ = a; }
  void read(const uint16_t* a) {
    if (!widened_) widened_.reset(new float[(end_ - begin_) * K_]);
    const int64_t first = begin_ * K_, n = end_ * K_ - first;
    for (int64_t k = 0; k < n; k += W) {
      const int some = int(n - k < W ? n - k : W);
      store(widened_.get() + k, load(a + first + k, some), some);
    }
    a_ = widened_.get() - first;
  }
  const float* at(int64_t row) const { return a_ + row * K_; }
  int64_t stride() const { return K_; }

 private:
  const int64_t begin_, end_, K_;
  const float* a_ = nullptr;
  std::unique_ptr<float[]> widened_;
};

// out[(m * NV + v) * W + lane] for at most 8 rows.
template <int NV, class T, class Row>
void few_rows(int rows, int64_t K, const Row* a, int64_t lda, const T* b, float* out) {
  constexpr int M = std::min(rows_in_registers<NV>(), most_rows<NV, T>());
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

// The same for `rows` <= most_rows<NV, T>().
template <int NV, class T, class Row>
void tile_rows(int rows, int64_t K, const Row* a, int64_t lda, const T* b, float* out) {
  few_rows<NV>(rows, K, a, lda, b, out);
}

#if defined(ELMAN_TILES)
// Eight tiles of 16 rows, 64 bytes each. Not a local variable: the intrinsic tells the compiler of
// its first 8 bytes only, so that the others might never be written.
struct TileShapes {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
};
alignas(64) const TileShapes TILE_SHAPES = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// As long as it lives, this thread has tiles.
struct Tiles {
  Tiles() { _tile_loadconfig(&TILE_SHAPES); }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};
#else
struct Tiles {};
#endif

// Rows in blocks of nearly equal size: 16 as 6 + 5 + 5 and not as 6 + 6 + 4.
template <int NV, class T, class F>
inline void for_row_blocks(int64_t begin, int64_t end, F&& f) {
  constexpr int M = most_rows<NV, T>();
  int64_t left = (end - begin + M - 1) / M;
  while (begin < end) {
    int rows = int((end - begin + left - 1) / left);
    f(begin, rows);
    begin += rows;
    left--;
  }
}

}  // namespace elman::ELMAN_ISA
