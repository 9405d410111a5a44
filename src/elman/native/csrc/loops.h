// The values that cross from Python: plain structs of pointers and sizes. All tensors are
// contiguous float32, masks are bytes, (T, B, ...) throughout.
#pragma once
#include <atomic>
#include <cstdint>

#include "bot.h"

extern "C" {

struct ElmanForward {
  int64_t cell, T, B, H, threads;
  int64_t kind;         // of the packed weights: 0 float32, 1 bfloat16, 2 int8, 3 bfloat16 in pairs,
                        // 4 int8 in fours
  int64_t kept_every;   // B*H where every step's c or gh_n is kept, 0 where only the last
  int64_t narrow;       // 1: gx is of 16 bits, bfloat16 going in and fractions coming out
  int64_t descending;   // 1: the first step takes the units from the last to the first
  void* gx;             // (T, B, G*H) float; in: projections; out: for the backward pass
  float* kept;          // c of an LSTM, gh_n of a GRU: (T, B, H), or (B, H) where kept_every is 0
  const void* packed;   // weight_hh by elman_pack; null for a cell without a product
  const float* scale;   // (G*H) for int8 weights, else null
  const float* bias_ih; // (G*H), or null where it is in gx already
  const float* bias_hh; // (G*H) or null
  float* h_all;         // (T, B, H)
  const float* h_first; // (B, H)
  const float* c_first; // (B, H) or null
  const uint8_t* keep;  // (T, B) or null; 0: the state is forgotten before this step
  float* scratch;       // (2, B, H) where keep is given
};

struct ElmanBackward {
  int64_t cell, T, B, H, threads, kind;
  int64_t narrow;       // 1: gates are fractions, dgx and dgh bfloat16, else all of them float
  const void* gates;    // what the forward pass left in gx
  const float* kept;
  const void* packed;   // weight_hh by elman_pack, for the product with dgh
  const float* h_all;
  const float* h_first;
  const float* c_first;
  const uint8_t* keep;
  const uint8_t* cut;   // (T, B) or null; 0: the gradient stops before this step
  const float* dh_all;  // (T, B, H)
  void* dgx;            // (T, B, G*H)
  void* dgh;            // (T, B, G*H); may be dgx
  float* dh;            // (B, H); in: of the last state; out: of the first
  float* dc;            // the same of c, or null
  float* indirect;      // (T, B, H) or null; out: what of dLoss/dh_t comes through step t + 1
};

struct ElmanProduct {   // out = a @ weight.T (+ bias), for a few rows
  int64_t rows, N, K, threads, kind;  // kind: as above, but 3
  const float* a;       // (rows, K)
  const void* packed;
  const float* scale;   // (N) for int8, else null
  const float* bias;    // (N) or null
  float* out;           // (rows, N)
};

struct ElmanSoftmax {   // cross-entropy of each row, and in place of its logits their gradient
  int64_t rows, N, threads;
  int64_t kind;            // of the logits: 0 float32, 1 bfloat16
  int64_t gradient;        // 0: leave the logits as they are
  void* logits;            // (rows, N) without bias
  const float* bias;       // (N) or null
  const float* beside;     // (rows) log q, or null
  const int64_t* targets;  // (rows)
  float* nats;             // (rows); -log(p + q)
  float* dbias;            // (threads, N) each thread's sum over its rows is added; or null
  float* scratch;          // (threads, N)
};
}

namespace elman {

// A barrier for a few threads that arrive within microseconds of each other.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait();

 private:
  const int threads_;
  std::atomic<int> arrived_{0};
  std::atomic<int> phase_{0};
};

// What one instruction set offers; each variant.cpp fills one in.
struct Variant {
  const char* name;
  int64_t (*packed_size)(int64_t kind, int64_t units, int64_t gates, int64_t k);
  void (*pack)(const void* weight, int64_t kind, int64_t row_stride, int64_t column_stride,
               int64_t units, int64_t gates, int64_t k, void* packed);
  void (*forward)(const ElmanForward&, int thread, int threads, Barrier&);
  void (*backward)(const ElmanBackward&, int thread, int threads, Barrier&);
  void (*product)(const ElmanProduct&, int thread, int threads, Barrier&);
  void (*softmax)(const ElmanSoftmax&, int thread, int threads, Barrier&);
  bool (*read)(const ElmanRead&);
  bool (*draw)(const ElmanDraw&);
};

}  // namespace elman
