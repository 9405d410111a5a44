// The elementwise half of each cell, for W units of one row: what cell.py's `step` and
// `step_backward` say, in the same symbols.
#pragma once
#include "gemm.h"

namespace elman::ELMAN_ISA {

// What a gate is kept as where projections are of type E.
template <class E>
using Kept = std::conditional_t<std::is_same_v<E, float>, float, Fraction>;

// What a step of one row reads and writes, at the units u to u + n. Projections and their gradients
// are of type E: float, or uint16_t (bfloat16).
template <class E>
struct Forward {
  const float* gh;      // [G][W] the projected state, without bias; null where there is none
  const float* scale;   // (G * H) of the product's rows, or null
  const float* bias_ih; // (G * H), or null
  const float* bias;    // (G * H) of gh, or null
  E* gx;                // (G * H) the projected input; holds what `backward` needs afterwards
  float* kept;          // (H) more of it: c of an LSTM, gh_n of a GRU
  const float* h_prev;  // (H), 0 after a reset
  const float* c_prev;  // (H), or null after a reset
  int64_t H, u;
  int n;

  V x(int g) const {
    V projected = load(gx + g * H + u, n);
    return bias_ih ? projected + load(bias_ih + g * H + u, n) : projected;
  }
  V h(int g) const {
    V product = load(gh + g * W);
    if (scale) product *= load(scale + g * H + u, n);
    return bias ? product + load(bias + g * H + u, n) : product;
  }
  void keep(int g, V gate) const { store(reinterpret_cast<Kept<E>*>(gx) + g * H + u, gate, n); }
};

template <class E>
struct Backward {
  const E* gates;       // what `Forward` left in gx
  const float* kept;
  const float* h;       // (H) the output of this step
  const float* h_prev;  // (H), or null after a reset
  const float* c_prev;
  E* dgx;               // (G * H)
  E* dgh;               // (G * H); may be dgx
  float* dc;            // (H) of an LSTM: in dLoss/dc_t, out dLoss/dc_{t-1}
  bool passes;          // false where the state, or its gradient, stops
  int64_t H, u;
  int n;

  V gate(int g) const { return load(reinterpret_cast<const Kept<E>*>(gates) + g * H + u, n); }
  V previous(const float* p) const { return p ? load(p + u, n) : V{}; }
  void give(int g, V x) const { store(dgx + g * H + u, x, n); }
};

struct Rnn {
  static constexpr int G = 1;
  static constexpr bool recurrent = true;
  template <class E>
  static V forward(const Forward<E>& f) { return tanh(f.x(0) + f.h(0)); }
  template <class E>
  static V backward(const Backward<E>& b, V dh) {
    V h = load(b.h + b.u, b.n);
    b.give(0, dh * (1 - h * h));
    return V{};
  }
};

struct Relu {
  static constexpr int G = 1;
  static constexpr bool recurrent = true;
  template <class E>
  static V forward(const Forward<E>& f) {
    V a = f.x(0) + f.h(0);
    return a < 0 ? V{} : a;
  }
  template <class E>
  static V backward(const Backward<E>& b, V dh) {
    b.give(0, load(b.h + b.u, b.n) > 0 ? dh : V{});
    return V{};
  }
};

struct Gru {
  static constexpr int G = 3;
  static constexpr bool recurrent = true;
  template <class E>
  static V forward(const Forward<E>& f) {
    V r = sigmoid(f.x(0) + f.h(0)), z = sigmoid(f.x(1) + f.h(1)), gh_n = f.h(2);
    V n = tanh(f.x(2) + r * gh_n);
    f.keep(0, r);
    f.keep(1, z);
    f.keep(2, n);
    store(f.kept + f.u, gh_n, f.n);
    return n + z * (load(f.h_prev + f.u, f.n) - n);
  }
  template <class E>
  static V backward(const Backward<E>& b, V dh) {
    V r = b.gate(0), z = b.gate(1), n = b.gate(2);
    V gh_n = load(b.kept + b.u, b.n), h_prev = b.previous(b.h_prev);
    V da_n = dh * (1 - z) * (1 - n * n);
    V da_r = da_n * gh_n * r * (1 - r);
    V da_z = dh * (h_prev - n) * z * (1 - z);
    b.give(0, da_r);
    b.give(1, da_z);
    b.give(2, da_n);
    store(b.dgh + b.u, da_r, b.n);
    store(b.dgh + b.H + b.u, da_z, b.n);
    store(b.dgh + 2 * b.H + b.u, da_n * r, b.n);
    return dh * z;
  }
};

struct Lstm {
  static constexpr int G = 4;
  static constexpr bool recurrent = true;
  template <class E>
  static V forward(const Forward<E>& f) {
    V i = sigmoid(f.x(0) + f.h(0)), fg = sigmoid(f.x(1) + f.h(1));
    V g = tanh(f.x(2) + f.h(2)), o = sigmoid(f.x(3) + f.h(3));
    V c = i * g;
    if (f.c_prev) c += fg * load(f.c_prev + f.u, f.n);
    f.keep(0, i);
    f.keep(1, fg);
    f.keep(2, g);
    f.keep(3, o);
    store(f.kept + f.u, c, f.n);
    return o * tanh(c);
  }
  template <class E>
  static V backward(const Backward<E>& b, V dh) {
    V i = b.gate(0), f = b.gate(1), g = b.gate(2), o = b.gate(3);
    V tanh_c = tanh(load(b.kept + b.u, b.n)), c_prev = b.previous(b.c_prev);
    V dc = load(b.dc + b.u, b.n) + dh * o * (1 - tanh_c * tanh_c);
    b.give(0, dc * g * i * (1 - i));
    b.give(1, dc * c_prev * f * (1 - f));
    b.give(2, dc * i * (1 - g * g));
    b.give(3, dh * tanh_c * o * (1 - o));
    store(b.dc + b.u, b.passes ? dc * f : V{}, b.n);  // 0, also where dc is infinite
    return V{};
  }
};

struct MinGru {
  static constexpr int G = 2;
  static constexpr bool recurrent = false;
  template <class E>
  static V forward(const Forward<E>& f) {
    V z = sigmoid(f.x(0)), n = f.x(1), h_prev = load(f.h_prev + f.u, f.n);
    f.keep(0, z);
    return h_prev + z * (n - h_prev);
  }
  template <class E>
  static V backward(const Backward<E>& b, V dh) {
    V z = b.gate(0), n = b.gate(1), h_prev = b.previous(b.h_prev);
    b.give(0, dh * (n - h_prev) * z * (1 - z));
    b.give(1, dh * z);
    return dh * (1 - z);
  }
};

struct MinLstm {
  static constexpr int G = 3;
  static constexpr bool recurrent = false;
  // f / (f + i) of f = sigmoid(a_f), i = sigmoid(a_i). With both fractions extended so that the
  // largest power of e is 1, nothing overflows, and gates that are both closed keep their ratio.
  static V share(V a_f, V a_i) {
    V least = a_f < a_i ? a_f : a_i;
    least = least < 0 ? least : V{};
    V of_f = exp(least) + exp(least - a_i), of_i = exp(least) + exp(least - a_f);
    return of_f / (of_f + of_i);
  }
  template <class E>
  static V forward(const Forward<E>& f) {
    V n = f.x(2), h_prev = load(f.h_prev + f.u, f.n);
    return n + share(f.x(0), f.x(1)) * (h_prev - n);
  }
  template <class E>
  static V backward(const Backward<E>& b, V dh) {
    V a_f = b.gate(0), a_i = b.gate(1), n = b.gate(2), h_prev = b.previous(b.h_prev);
    V s = share(a_f, a_i), da = dh * (h_prev - n) * s * (1 - s);
    b.give(0, da * sigmoid(-a_f));
    b.give(1, -da * sigmoid(-a_i));
    b.give(2, dh * (1 - s));
    return dh * s;
  }
};

}  // namespace elman::ELMAN_ISA
