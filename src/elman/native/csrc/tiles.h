// Products in whole tiles, 16 rows by 16 outputs at once, where the processor has them (AMX).
#pragma once
#include <algorithm>

#include "quads.h"

#if defined(ELMAN_TILES)
namespace elman::ELMAN_ISA {

// Rows rounded once for all the panels they are multiplied with. There are always TILE_ROWS of them:
// what a tile computes of rows that nobody asked for is left alone.
template <class T>
struct Rows<T, Factor::PAIRS> {
  Rows(int64_t begin, int64_t end, int64_t K)
      : begin_(begin), end_(end), K_(K), stride_(padded<T>(K)),
        bits_(lines<uint16_t>(size())) {
    std::memset(bits_.get(), 0, size());
  }

  void read(const float* a) {
    for (int64_t row = begin_; row < end_; row++)
      for (int64_t k = 0; k < K_; k += W) {
        V x = load(a + row * K_ + k, int(K_ - k < W ? K_ - k : W));
        _mm256_store_si256((__m256i*)(bits_.get() + (row - begin_) * stride_ + k),
                           (__m256i)_mm512_cvtneps_pbh((__m512)x));
      }
  }
  void read(const uint16_t* a) {
    for (int64_t row = begin_; row < end_; row++)
      std::memcpy(bits_.get() + (row - begin_) * stride_, a + row * K_, K_ * sizeof(uint16_t));
  }
  const uint16_t* at(int64_t row) const { return bits_.get() + (row - begin_) * stride_; }
  int64_t stride() const { return stride_; }

 private:
  size_t size() const { return (end_ - begin_ + TILE_ROWS) * stride_ * sizeof(uint16_t); }
  const int64_t begin_, end_, K_, stride_;
  const Lines<uint16_t> bits_;
  Tiles tiles_;
};

template <int NV>
void tile_rows(int, int64_t K, const uint16_t* a, int64_t lda, const Pair* b, float* out) {
  static_assert(NV == 3 || NV == 4);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = 0; k < padded<Pair>(K); k += tile_k<Pair>(), b += NV * W * tile_k<Pair>()) {
    _tile_loadd(4, a + k, lda * sizeof(uint16_t));
    _tile_loadd(5, b, NV * W * 4);
    _tile_dpbf16ps(0, 4, 5);
    _tile_loadd(6, b + W * 2, NV * W * 4);
    _tile_dpbf16ps(1, 4, 6);
    _tile_loadd(7, b + W * 4, NV * W * 4);
    _tile_dpbf16ps(2, 4, 7);
    if constexpr (NV == 4) {
      _tile_loadd(5, b + W * 6, NV * W * 4);
      _tile_dpbf16ps(3, 4, 5);
    }
  }
  _tile_stored(0, out, NV * W * 4);
  _tile_stored(1, out + W, NV * W * 4);
  _tile_stored(2, out + W * 2, NV * W * 4);
  if constexpr (NV == 4) _tile_stored(3, out + W * 3, NV * W * 4);
}

// So few rows are faster without tiles, which would be mostly empty.
constexpr int FEW_ROWS = 6;

// Two tiles of rows, or one, by two of outputs, or one: sums[(m * NV + v) * W + lane].
template <int NV, bool MORE_ROWS, bool MORE_OUTPUTS>
void tile_quads(int64_t K, const int8_t* a, int64_t lda, const Quad* b, int32_t* sums) {
  constexpr int64_t STEP = NV * W * tile_k<Quad>(), BYTES = NV * W * 4;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = 0, steps = padded<Quad>(K); k < steps; k += tile_k<Quad>(), b += STEP) {
    _tile_loadd(4, a + k, lda);
    _tile_loadd(6, b, BYTES);
    _tile_dpbsud(0, 4, 6);
    if constexpr (MORE_ROWS) {
      _tile_loadd(5, a + k + TILE_ROWS * lda, lda);
      _tile_dpbsud(1, 5, 6);
    }
    if constexpr (MORE_OUTPUTS) {
      _tile_loadd(7, b + W * 4, BYTES);
      _tile_dpbsud(2, 4, 7);
      if constexpr (MORE_ROWS) _tile_dpbsud(3, 5, 7);
    }
    // The panel after this one, into the cache behind the nearest.
#pragma GCC unroll 16
    for (int row = 0; row < TILE_ROWS; row++)
#pragma GCC unroll 2
      for (int v = 0; v <= MORE_OUTPUTS; v++)
        __builtin_prefetch(b + steps * NV * W + row * BYTES + v * W * 4, 0, 2);
  }
  _tile_stored(0, sums, BYTES);
  if constexpr (MORE_OUTPUTS) _tile_stored(2, sums + W, BYTES);
  if constexpr (MORE_ROWS) {
    sums += TILE_ROWS * NV * W;
    _tile_stored(1, sums, BYTES);
    if constexpr (MORE_OUTPUTS) _tile_stored(3, sums + W, BYTES);
  }
}

template <int NV>
void tile_rows(int rows, int64_t K, const int8_t* a, int64_t lda, const Quad* b, float* out) {
  if (rows <= FEW_ROWS) return few_rows<NV>(rows, K, a, lda, b, out);
  alignas(64) int32_t sums[2 * TILE_ROWS * NV * W];
  for (int v = 0; v < NV; v += 2) {
    const Quad* own = b + v * W * 4;
    if (v + 1 < NV)
      rows > TILE_ROWS ? tile_quads<NV, true, true>(K, a, lda, own, sums + v * W)
                       : tile_quads<NV, false, true>(K, a, lda, own, sums + v * W);
    else
      rows > TILE_ROWS ? tile_quads<NV, true, false>(K, a, lda, own, sums + v * W)
                       : tile_quads<NV, false, false>(K, a, lda, own, sums + v * W);
  }
  for (int m = 0; m < rows; m++) {
    const RowEnd end = end_of_row(a + m * lda, lda);
    for (int at = m * NV * W; at < (m + 1) * NV * W; at += W) {
      I sum;
      std::memcpy(&sum, sums + at, sizeof sum);
      store(out + at, __builtin_convertvector(sum - end.added, V) * end.scale);
    }
  }
}

}  // namespace elman::ELMAN_ISA
#endif
