// Products of int8 by rows of two 16-bit numbers each, where the processor multiplies those in pairs
// and adds: in WebAssembly, which has no other way to multiply small integers, nor any fused one.
#pragma once
#include <algorithm>
#include <cmath>
#include <new>

#include "gemm.h"

#if defined(ELMAN_WORDS)
namespace elman::ELMAN_ISA {

// A number of a row is high * scale + low * scale / (2 * levels): as exact as float. The levels are
// so few that no sum of K products leaves 32 bits.
struct WordRowEnd {
  float high, low;  // scales
};

template <class T>
struct Rows<T, Factor::QUADS> {
  Rows(int64_t begin, int64_t end, int64_t K)
      : begin_(begin), K_(K), half_((K + 7) / 8 * 8), words_(new int16_t[(end - begin) * stride()]()) {
    levels_ = float(std::min<int64_t>(32767, 0x7fffffff / (128 * K)));
    end_ = end;
  }

  void read(const float* a) {
    for (int64_t row = begin_; row < end_; row++) {
      const float* from = a + row * K_;
      int16_t* to = words_.get() + (row - begin_) * stride();
      float largest = 0;
      for (int64_t k = 0; k < K_; k++) largest = std::max(largest, std::fabs(from[k]));
      const float inverse = largest < 1e-30f ? 0 : levels_ / largest;
      for (int64_t k = 0; k < K_; k++) {
        const float steps = from[k] * inverse, high = std::nearbyint(steps);
        to[k] = int16_t(high);
        to[half_ + k] = int16_t(std::nearbyint((steps - high) * 2 * levels_));
      }
      const WordRowEnd end{largest / levels_, largest / levels_ / (2 * levels_)};
      std::memcpy(to + 2 * half_, &end, sizeof end);
    }
  }
  const int16_t* at(int64_t row) const { return words_.get() + (row - begin_) * stride(); }
  int64_t stride() const { return 2 * half_ + 8; }

 private:
  const int64_t begin_, K_, half_;
  int64_t end_;
  float levels_;
  const std::unique_ptr<int16_t[]> words_;
};

template <int NV, int MR>
inline __attribute__((always_inline)) void tile(int64_t K, const int16_t* a, int64_t lda, const Quad* b,
                                                float* out) {
  static_assert(MR == 1);
  const int16_t* low = a + (lda - 8) / 2;
  v128_t high_sum[NV], low_sum[NV];
  for (int v = 0; v < NV; v++) high_sum[v] = low_sum[v] = wasm_i32x4_const_splat(0);
  for (int64_t k = 0; k < K; k += 2, b += NV * W * 2) {
    const v128_t high_pair = wasm_v128_load32_splat(a + k), low_pair = wasm_v128_load32_splat(low + k);
    for (int v = 0; v < NV; v++) {
      const v128_t weights = wasm_i16x8_load8x8(b + v * W * 2);
      high_sum[v] = wasm_i32x4_add(high_sum[v], wasm_i32x4_dot_i16x8(weights, high_pair));
      low_sum[v] = wasm_i32x4_add(low_sum[v], wasm_i32x4_dot_i16x8(weights, low_pair));
    }
  }
  WordRowEnd end;
  std::memcpy(&end, a + lda - 8, sizeof end);
  for (int v = 0; v < NV; v++)
    store(out + v * W, __builtin_convertvector((I)high_sum[v], V) * end.high +
                           __builtin_convertvector((I)low_sum[v], V) * end.low);
}

}  // namespace elman::ELMAN_ISA
#endif
