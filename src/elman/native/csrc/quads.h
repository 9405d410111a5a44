// Products of int8 by int8, four k at once, where the processor has an instruction for that.
#pragma once

#include "gemm.h"

#if defined(ELMAN_QUADS)
namespace elman::ELMAN_ISA {

// Behind each row. Weights are stored 128 higher, without a sign: what this adds to a row's products
// is taken off.
struct RowEnd {
  int32_t added;
  float scale;
};

// Rows rounded to int8 once for all the panels they are multiplied with, each by its largest number.
template <class T>
struct Rows<T, Factor::QUADS> {
  Rows(int64_t begin, int64_t end, int64_t K)
      : begin_(begin), end_(end), K_(K), stride_((K + 63) / 64 * 64 + 64),
        bytes_(lines<int8_t>(size())) {
    std::memset(bytes_.get(), 0, size());
  }

  void read(const float* a) {
    for (int64_t row = begin_; row < end_; row++) {
      const float* from = a + row * K_;
      int8_t* to = bytes_.get() + (row - begin_) * stride_;
      I most{};  // the bits of |x| grow as it does, and are most of all where it is no number
      for (int64_t k = 0; k < K_; k += W) {
        const I bits = reinterpret_cast<I>(load(from + k, some(k))) & 0x7fffffff;
        most = bits > most ? bits : most;
      }
      int32_t bits = 0;
      for (int lane = 0; lane < W; lane++) bits = most[lane] > bits ? most[lane] : bits;
      float largest;
      std::memcpy(&largest, &bits, sizeof largest);
      const float inverse = largest < 1e-30f ? 0 : 127 / largest;
      I sums{};
      for (int64_t k = 0; k < K_; k += W) {
        const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
        V x = load(from + k, some(k)) * inverse + shift;
        const I steps = reinterpret_cast<I>(x) - 0x4b400000;
        sums += (steps << 24) >> 24;
        typedef int8_t B __attribute__((vector_size(W)));
        const B narrow = __builtin_convertvector(steps, B);
        std::memcpy(to + k, &narrow, W);
      }
      RowEnd end{0, largest / 127};
      for (int lane = 0; lane < W; lane++) end.added += 128 * sums[lane];
      std::memcpy(to + stride_ - sizeof end, &end, sizeof end);
    }
  }
  const int8_t* at(int64_t row) const { return bytes_.get() + (row - begin_) * stride_; }
  int64_t stride() const { return stride_; }

 private:
  int some(int64_t k) const { return int(K_ - k < W ? K_ - k : W); }
  size_t size() const { return (end_ - begin_ + (in_tiles<T>() ? TILE_ROWS : 0)) * stride_; }
  const int64_t begin_, end_, K_, stride_;
  const Lines<int8_t> bytes_;
  Tiles tiles_;
};

inline RowEnd end_of_row(const int8_t* row, int64_t stride) {
  RowEnd end;
  std::memcpy(&end, row + stride - sizeof end, sizeof end);
  return end;
}

inline I dot(I sum, const Quad* weights, int32_t row) {
#if ELMAN_WIDTH == 16
  return (I)_mm512_dpbusd_epi32((__m512i)sum, _mm512_loadu_si512(weights), _mm512_set1_epi32(row));
#else
  return (I)_mm256_dpbusd_avx_epi32((__m256i)sum, _mm256_loadu_si256((const __m256i*)weights),
                                    _mm256_set1_epi32(row));
#endif
}

template <int NV, int MR>
inline __attribute__((always_inline)) void tile(int64_t K, const int8_t* a, int64_t lda, const Quad* b,
                                                float* out) {
  I sum[MR][NV] = {};
  for (int64_t k = 0; k < K; k += 4, b += NV * W * 4) {
    prefetch<NV * W * 4>(b);
#pragma GCC unroll 16
    for (int m = 0; m < MR; m++) {
      int32_t row;
      std::memcpy(&row, a + m * lda + k, sizeof row);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[m][v] = dot(sum[m][v], b + v * W * 4, row);
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; m++) {
    const RowEnd end = end_of_row(a + m * lda, lda);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++)
      store(out + (m * NV + v) * W,
            __builtin_convertvector(sum[m][v] - end.added, V) * end.scale);
  }
}

}  // namespace elman::ELMAN_ISA
#endif
