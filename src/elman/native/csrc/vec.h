// Vectors of W floats and the functions that gates are made of, for one instruction set.
// Included once for each set; ELMAN_WIDTH says how many floats a register holds.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__wasm__)
#include <wasm_simd128.h>
#endif

namespace elman::ELMAN_ISA {

constexpr int W = ELMAN_WIDTH;
typedef float V __attribute__((vector_size(W * 4)));
typedef int32_t I __attribute__((vector_size(W * 4)));
typedef float Unaligned __attribute__((vector_size(W * 4), aligned(4), may_alias));

inline V splat(float x) { return x - V{}; }
inline V load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
inline void store(float* p, V x) { *reinterpret_cast<Unaligned*>(p) = x; }

// The first n of W floats; the others are 0 and are not touched in memory.
inline V load(const float* p, int n) {
  if (n >= W) return load(p);
  V x{};
  std::memcpy(&x, p, 4 * n);
  return x;
}
inline void store(float* p, V x, int n) {
  if (n >= W) return store(p, x);
  std::memcpy(p, &x, 4 * n);
}

// bfloat16 is the upper half of a float; int8 is scaled by the caller.
inline V load(const uint16_t* p) {
#if defined(__AVX512F__) && ELMAN_WIDTH == 16
  return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16);
#elif defined(__AVX2__) && ELMAN_WIDTH == 8
  return (V)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16);
#else
  typedef uint16_t H __attribute__((vector_size(W * 2), aligned(2), may_alias));
  return reinterpret_cast<V>(__builtin_convertvector(*reinterpret_cast<const H*>(p), I) << 16);
#endif
}
// To the nearest, ties to even; a NaN stays one.
inline void store(uint16_t* p, V x) {
  typedef uint32_t U __attribute__((vector_size(W * 4)));
  U bits = reinterpret_cast<U>(x);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  bits = x == x ? bits : U{} + 0x7fc0;
#if defined(__AVX512F__) && ELMAN_WIDTH == 16
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16((__m512i)bits));
#else
  typedef uint16_t H __attribute__((vector_size(W * 2)));
  const H half = __builtin_convertvector(bits, H);
  std::memcpy(p, &half, sizeof half);
#endif
}

// A fraction is a number from -1 to 1 in steps of 2^-15, near enough: a gate that is nearly 1 keeps
// its distance from it, which bfloat16 would lose.
struct Fraction {
  int16_t steps;
};
constexpr float STEPS = 32767;

inline V load(const Fraction* p) {
#if defined(__AVX512F__) && ELMAN_WIDTH == 16
  return (V)_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i*)p))) *
         (1 / STEPS);
#else
  typedef int16_t S __attribute__((vector_size(W * 2), aligned(2), may_alias));
  I steps = __builtin_convertvector(*reinterpret_cast<const S*>(p), I);
  return __builtin_convertvector(steps, V) * (1 / STEPS);
#endif
}
inline void store(Fraction* p, V x) {
#if defined(__AVX512F__) && ELMAN_WIDTH == 16
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32((__m512)(x * STEPS))));
#else
  typedef int16_t S __attribute__((vector_size(W * 2)));
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  S steps = __builtin_convertvector(__builtin_convertvector(x * STEPS + shift - shift, I), S);
  std::memcpy(p, &steps, sizeof steps);
#endif
}

// The first n of W numbers of 16 bits.
template <class T, std::enable_if_t<sizeof(T) == 2, int> = 0>
inline V load(const T* p, int n) {
  if (n >= W) return load(p);
  T some[W]{};
  std::memcpy(some, p, 2 * n);
  return load(some);
}
template <class T, std::enable_if_t<sizeof(T) == 2, int> = 0>
inline void store(T* p, V x, int n) {
  if (n >= W) return store(p, x);
  T some[W];
  store(some, x);
  std::memcpy(p, some, 2 * n);
}

inline V load(const int8_t* p) {
#if defined(__AVX512F__) && ELMAN_WIDTH == 16
  return (V)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
#elif defined(__AVX2__) && ELMAN_WIDTH == 8
  return (V)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
#else
  typedef int8_t B __attribute__((vector_size(W), aligned(1), may_alias));
  return __builtin_convertvector(__builtin_convertvector(*reinterpret_cast<const B*>(p), I), V);
#endif
}

// 1/x within 1 unit in the last place, for 1 <= x < 2^127: an estimate and Newton's steps
// cost a quarter of a division.
inline V reciprocal(V x) {
#if defined(__AVX512F__) && ELMAN_WIDTH == 16
  V r = (V)_mm512_rcp14_ps((__m512)x);
  return r + r * (1 - x * r);
#elif defined(__AVX2__) && ELMAN_WIDTH == 8
  V r = (V)_mm256_rcp_ps((__m256)x);
  r = r + r * (1 - x * r);
  return r + r * (1 - x * r);
#else
  return 1 / x;
#endif
}

// x held to -limit..limit; a NaN stays one.
inline V within(V x, float limit) {
#if defined(__AVX512F__) && ELMAN_WIDTH == 16
  return (V)_mm512_min_ps((__m512)splat(limit), _mm512_max_ps((__m512)splat(-limit), (__m512)x));
#elif defined(__AVX2__) && ELMAN_WIDTH == 8
  return (V)_mm256_min_ps((__m256)splat(limit), _mm256_max_ps((__m256)splat(-limit), (__m256)x));
#else
  x = x < -limit ? splat(-limit) : x;
  return x > limit ? splat(limit) : x;
#endif
}

// e^x within 2 units in the last place; x is held to where the result is a normal number.
inline V exp(V x) {
  const V given = x;
  x = within(x, 87.0f);
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  V n = x * 1.44269504f + shift;
  I exponent = reinterpret_cast<I>(n) << 23;
  n -= shift;
  V r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  // Taylor's terms reach rounding on |r| < 0.35; in pairs, since a long chain would make us wait.
  V square = r * r;
  V high = (r * 1.98412698e-4f + 1.38888889e-3f) * square + (r * 8.33333333e-3f + 4.16666667e-2f);
  V p = (high * square + (r * 1.66666667e-1f + 0.5f)) * square + (r + 1.0f);
  // Of a NaN, the sum of bits could be a number.
  return given == given ? reinterpret_cast<V>(reinterpret_cast<I>(p) + exponent) : given;
}

inline V sigmoid(V x) { return reciprocal(1 + exp(-x)); }

inline V tanh(V x) {
  V magnitude = x < 0 ? -x : x;
  V far = 1 - 2 * reciprocal(1 + exp(2 * magnitude));
  far = x < 0 ? -far : far;
  // Near 0 the difference above would lose digits: an odd polynomial, fitted on |x| < 0.625.
  V z = x * x;
  V square = z * z;
  V p = (z * -5.70498872745e-3f + 2.06390887954e-2f) * square +
        (z * -5.37397155531e-2f + 1.33314422036e-1f);
  p = p * z - 3.33332819422e-1f;
  V near = x + x * z * p;
  return magnitude < 0.625f ? near : far;
}

}  // namespace elman::ELMAN_ISA
