// Runs the library's loops and products alone and in a team, on exactly as much memory as they ask
// for, and compares what they compute: test_sanitizers.py builds both with a sanitizer.
//
//     loops LIBRARY
//
// With two arguments more, it writes what one instruction set computes alone, as floats: between
// processors test_aarch64.py compares that.
//
//     loops LIBRARY ISA FILE
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "loops.h"

namespace {

void* library;
template <class F>
F* function(const char* name) {
  return reinterpret_cast<F*>(dlsym(library, name));
}

// A team as OpenMP's: the library is given these three.
thread_local int number = 0;
int team = 1;
void parallel(void (*work)(void*), void* data, unsigned threads, unsigned) {
  std::vector<std::thread> all;
  team = int(threads);
  for (unsigned n = 0; n < threads; n++) all.emplace_back([=] { number = int(n), work(data); });
  for (auto& each : all) each.join();
}
int thread_number() { return number; }
int thread_count() { return team; }

std::mt19937 draw(0);
std::vector<float> numbers(long size, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> found(size);
  for (float& each : found) each = normal(draw);
  return found;
}
std::vector<uint8_t> mask(long size) {
  std::vector<uint8_t> found(size);
  for (auto& each : found) each = draw() % 4 != 0;
  return found;
}

constexpr int FLOAT32 = 0, BFLOAT16 = 1, INT8 = 2, PAIRS = 3, QUADS = 4;
constexpr int BYTES[] = {4, 2, 1, 2, 1};

// (rows, columns) of a kind, with its numbers; packed as (units * gates, k).
struct Weights {
  std::vector<char> packed;
  std::vector<float> scale;

  Weights(const std::vector<float>& given, int kind, long row_stride, long column_stride, long units,
          int gates, long k) {
    std::vector<char> values(given.size() * BYTES[kind]);
    for (size_t n = 0; n < given.size(); n++) {
      const float x = given[n];
      uint32_t bits;
      std::memcpy(&bits, &x, 4);
      if (kind == FLOAT32) std::memcpy(&values[4 * n], &x, 4);
      else if (kind == BFLOAT16 || kind == PAIRS) {
        const uint16_t half = uint16_t(bits >> 16);
        std::memcpy(&values[2 * n], &half, 2);
      } else values[n] = char(std::lround(std::min(127.0f, std::max(-127.0f, x * 300))));
    }
    auto size = function<int64_t(int64_t, int64_t, int64_t, int64_t)>("elman_packed_size");
    auto pack = function<void(const void*, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                              void*)>("elman_pack");
    packed.resize(size(kind, units, gates, k) * BYTES[kind]);
    pack(values.data(), kind, row_stride, column_stride, units, gates, k, packed.data());
    if (kind == INT8 || kind == QUADS) scale.assign(units * gates, 1 / 300.0f);
  }
};

const float* data(const std::vector<float>& given) { return given.empty() ? nullptr : given.data(); }

void compare(const std::vector<float>& one, const std::vector<float>& other, const std::string& what) {
  for (size_t n = 0; n < one.size(); n++)
    if (!(std::abs(one[n] - other[n]) <= 1e-5f * std::max(1.0f, std::abs(one[n])))) {
      std::printf("%s: %g alone and %g in a team\n", what.c_str(), one[n], other[n]);
      std::exit(1);
    }
}

constexpr long T = 3;
constexpr int GATES[] = {1, 1, 3, 4, 2, 3};  // of each cell, in the order of CELL_NAMES

// A forward pass and its backward pass; returns all that they compute.
std::vector<float> loop(int cell, int kind, long B, long H, int threads, bool masked) {
  draw.seed(1);
  const int G = GATES[cell];
  const bool recurrent = cell < 4, backwards = kind == FLOAT32 || kind == PAIRS;
  const long GH = G * H;
  auto weight = numbers(GH * H, 0.2f), gx = numbers(T * B * GH), bias = numbers(GH);
  auto h_first = numbers(B * H), c_first = numbers(B * H), dh_all = numbers(T * B * H);
  auto dh = numbers(B * H), dc = numbers(B * H);
  auto keep = mask(T * B), cut = mask(T * B);
  std::vector<float> kept(T * B * H), h_all(T * B * H), scratch(2 * B * H), dgh(T * B * GH);
  std::vector<float> dgx(T * B * GH), indirect(T * B * H);
  const Weights w(weight, kind, H, 1, H, G, H), back(weight, kind, 1, H, H, 1, GH);

  ElmanForward f{};
  f.cell = cell, f.T = T, f.B = B, f.H = H, f.threads = threads, f.kind = recurrent ? kind : 0;
  f.kept_every = B * H, f.gx = gx.data(), f.kept = kept.data(), f.h_all = h_all.data();
  f.h_first = h_first.data(), f.c_first = cell == 3 ? c_first.data() : nullptr;
  if (recurrent) f.packed = w.packed.data(), f.scale = data(w.scale), f.bias_hh = bias.data();
  if (masked) f.keep = keep.data(), f.scratch = scratch.data();
  function<void(const ElmanForward*)>("elman_forward")(&f);
  if (backwards) {
    ElmanBackward b{};
    b.cell = cell, b.T = T, b.B = B, b.H = H, b.threads = threads, b.kind = f.kind;
    b.gates = gx.data(), b.kept = kept.data(), b.h_all = h_all.data(), b.h_first = f.h_first;
    b.c_first = f.c_first, b.dh_all = dh_all.data(), b.dgx = dgx.data();
    b.dgh = cell == 2 ? dgh.data() : dgx.data(), b.dh = dh.data(), b.dc = dc.data();
    b.indirect = indirect.data();
    if (recurrent) b.packed = back.packed.data();
    if (masked) b.keep = keep.data(), b.cut = cut.data();
    function<void(const ElmanBackward*)>("elman_backward")(&b);
  }
  for (const auto& each : {h_all, dgx, dh, dc, indirect}) gx.insert(gx.end(), each.begin(), each.end());
  return gx;
}

std::vector<float> product(int kind, long rows, long N, long K, int threads) {
  draw.seed(2);
  const auto weight = numbers(N * K, 0.2f), a = numbers(rows * K), bias = numbers(N);
  const Weights w(weight, kind, K, 1, N, 1, K);
  std::vector<float> out(rows * N);
  ElmanProduct job{rows, N, K, threads, kind, a.data(), w.packed.data(), data(w.scale), bias.data(),
                   out.data()};
  function<void(const ElmanProduct*)>("elman_product")(&job);
  return out;
}

std::vector<float> softmax(long rows, long N, int threads) {
  draw.seed(3);
  auto logits = numbers(rows * N), bias = numbers(N), beside = numbers(rows);
  std::vector<float> nats(rows), dbias(threads * N), scratch(threads * N);
  std::vector<int64_t> targets(rows);
  for (auto& each : targets) each = draw() % N;
  ElmanSoftmax job{rows, N, threads, 0, 1, logits.data(), bias.data(), beside.data(),
                   targets.data(), nats.data(), dbias.data(), scratch.data()};
  function<void(const ElmanSoftmax*)>("elman_softmax")(&job);
  nats.insert(nats.end(), logits.begin(), logits.end());
  return nats;
}

// What is hostile: nothing is finite, or nothing may be drawn.
void draws(long rows, long V) {
  const float infinity = INFINITY;
  for (float odd : {0.0f, infinity, -infinity, NAN}) {
    auto logits = numbers(rows * V);
    for (long n = 0; n < rows * V; n += 1 + n % 3) logits[n] = odd;
    std::vector<double> heat(rows, 0.8), share(rows, 0.9), floor(rows, 0.05), points(rows, 1);
    std::vector<int64_t> tokens(rows, -1);
    ElmanDraw job{rows, V, logits.data(), heat.data(), share.data(), floor.data(), points.data(),
                  tokens.data()};
    function<int(const ElmanDraw*)>("elman_draw")(&job);
    for (int64_t each : tokens)
      if (each < 0 || each >= V) std::printf("token %ld was drawn\n", long(each)), std::exit(1);
  }
}

// All that does not depend on how a processor multiplies rounded numbers.
void write(const char* file) {
  std::FILE* out = std::fopen(file, "wb");
  auto put = [&](const std::vector<float>& all) {
    std::fwrite(all.data(), sizeof(float), all.size(), out);
  };
  for (int kind : {FLOAT32, BFLOAT16, INT8}) {
    for (int cell = 0; cell < 6; cell++)
      for (long B : {1, 11}) put(loop(cell, kind, B, 37, 1, true));
    put(product(kind, 7, 130, 67, 1));
  }
  put(softmax(9, 83, 1));
  std::fclose(out);
}

}  // namespace

int main(int count, char** arguments) {
  library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return std::printf("%s\n", dlerror()), 1;
  function<void(void*, void*, void*)>("elman_set_threads")(
      reinterpret_cast<void*>(parallel), reinterpret_cast<void*>(thread_number),
      reinterpret_cast<void*>(thread_count));
  if (count == 4) {
    if (!function<int(const char*)>("elman_use")(arguments[2])) return 1;
    write(arguments[3]);
    return 0;
  }
  auto isa = function<const char*(int)>("elman_isa");
  for (int n = 0; const char* name = isa(n); n++) {
    function<int(const char*)>("elman_use")(name);
    for (int kind = FLOAT32; kind <= QUADS; kind++) {
      const std::string where = std::string(name) + ", kind " + std::to_string(kind);
      for (int cell = 0; cell < 6; cell++)
        for (long B : {1, 11, 34})
          for (bool masked : {false, true})
            compare(loop(cell, kind, B, 37, 1, masked), loop(cell, kind, B, 37, 3, masked),
                    where + ", cell " + std::to_string(cell));
      if (kind == PAIRS) continue;
      for (long rows : {1, 7, 33, 40})
        for (long N : {5, 130})
          compare(product(kind, rows, N, 67, 1), product(kind, rows, N, 67, 2), where);
    }
    compare(softmax(9, 83, 1), softmax(9, 83, 3), name);
    draws(3, 83);
    std::printf("%s\n", name);
  }
}
