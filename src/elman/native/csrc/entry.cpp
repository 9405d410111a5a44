// What Python calls: chooses the instruction set and hands the work to OpenMP's threads.
#include <cstring>

#include "loops.h"
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#include <initializer_list>
#endif
#include <thread>
#if defined(ELMAN_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace elman {

void Barrier::wait() {
  const int phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; spins++) {
#if defined(__x86_64__)
    _mm_pause();
#endif
    if (spins > 2000) std::this_thread::yield();  // a core short: let the others have this one
  }
}

#define ELMAN_DECLARE(isa) \
  namespace isa {          \
  extern const Variant variant; \
  }
#if defined(__x86_64__)
ELMAN_DECLARE(avx2)
ELMAN_DECLARE(avx512)
ELMAN_DECLARE(avx512vnni)
#if defined(ELMAN_AVXVNNI)
ELMAN_DECLARE(avxvnni)
#endif
#if defined(ELMAN_BF16)
ELMAN_DECLARE(avx512bf16)
#endif
#if defined(ELMAN_AMX)
ELMAN_DECLARE(amx)
#endif
#elif defined(__wasm__)
ELMAN_DECLARE(simd128)
#else
ELMAN_DECLARE(neon)
#endif

namespace {

const Variant* const variants[] = {
#if defined(ELMAN_AMX)
    &amx::variant,
#endif
#if defined(ELMAN_BF16)
    &avx512bf16::variant,
#endif
#if defined(__x86_64__)
    &avx512vnni::variant, &avx512::variant,
#if defined(ELMAN_AVXVNNI)
    &avxvnni::variant,
#endif
    &avx2::variant
#elif defined(__wasm__)
    &simd128::variant
#else
    &neon::variant
#endif
};

#if defined(__x86_64__)
// What of the processor and of the system is asked for. Compilers have functions for that, but not
// every one brings the library that they are in.
struct Processor {
  bool avx2 = false, avxvnni = false, avx512 = false, avx512vnni = false, avx512bf16 = false;
  bool tiles = false;

  Processor() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, {12, 27})) return;  // FMA, XGETBV
    unsigned kept, upper;  // which registers the system keeps of each thread
    asm("xgetbv" : "=a"(kept), "=d"(upper) : "c"(0));
    if (!has(kept, {1, 2}) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx2 = has(b, {5});
    avx512 = avx2 && has(b, {16, 17, 30, 31}) && has(kept, {5, 6, 7});  // F, DQ, BW, VL
    avx512vnni = avx512 && has(c, {11});
    tiles = has(d, {22, 24, 25}) && has(kept, {17, 18}) && lets_us_have_tiles();  // BF16, TILE, INT8
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return;
    avxvnni = avx2 && has(a, {4});
    avx512bf16 = avx512vnni && has(a, {5});
    tiles = tiles && avx512bf16;
  }

 private:
  static bool has(unsigned bits, std::initializer_list<int> wanted) {
    for (int bit : wanted)
      if (!(bits >> bit & 1)) return false;
    return true;
  }
  // They are 8 KB more to be kept of each thread, so Linux wants to be asked once.
  static bool lets_us_have_tiles() {
#if defined(ELMAN_AMX)
    constexpr long ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
    return false;
#endif
  }
};
#endif

bool runs_here(const Variant* v) {
#if defined(__x86_64__)
  static const Processor own;
#if defined(ELMAN_AMX)
  if (v == &amx::variant) return own.tiles;
#endif
#if defined(ELMAN_BF16)
  if (v == &avx512bf16::variant) return own.avx512bf16;
#endif
#if defined(ELMAN_AVXVNNI)
  if (v == &avxvnni::variant) return own.avxvnni;
#endif
  if (v == &avx512vnni::variant) return own.avx512vnni;
  return v == &avx512::variant ? own.avx512 : own.avx2;
#else
  return v != nullptr;
#endif
}

const Variant* active = nullptr;

// The OpenMP that is already in the process: a second one would fight it for the cores.
void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
int (*thread_number)() = nullptr;
int (*thread_count)() = nullptr;

template <class Job>
void run(const Job& job, void (*work)(const Job&, int, int, Barrier&)) {
  struct Call {
    const Job& job;
    void (*work)(const Job&, int, int, Barrier&);
    Barrier barrier;
    int threads;
  } call{job, work, Barrier(int(job.threads)), int(job.threads)};
  if (job.threads <= 1 || !parallel) {
    Barrier alone(1);
    return work(job, 0, 1, alone);
  }
  parallel(
      [](void* data) {
        auto& c = *static_cast<Call*>(data);
        // Fewer threads than asked for would wait for ever: then the first does it all.
        if (thread_count() == c.threads) return c.work(c.job, thread_number(), c.threads, c.barrier);
        if (thread_number() == 0) {
          Barrier alone(1);
          c.work(c.job, 0, 1, alone);
        }
      },
      &call, unsigned(job.threads), 0);
}

}  // namespace
}  // namespace elman

extern "C" {

#if defined(_WIN32)
#define ELMAN_API __declspec(dllexport)
#else
#define ELMAN_API __attribute__((visibility("default")))
#endif

// The name of the nth instruction set that this processor has, best first; null after the last.
ELMAN_API const char* elman_isa(int n) {
  for (auto v : elman::variants)
    if (elman::runs_here(v) && n-- == 0) return v->name;
  return nullptr;
}

// Sizes of the structs, by which Python sees whether it was built with this library.
ELMAN_API int64_t elman_struct_size(int n) {
  const int64_t sizes[] = {sizeof(ElmanForward), sizeof(ElmanBackward), sizeof(ElmanProduct),
                           sizeof(ElmanSoftmax), sizeof(ElmanRead),     sizeof(ElmanDraw),
                           sizeof(ElmanBot),     sizeof(ElmanMatrix),   sizeof(ElmanLayer),
                           sizeof(ElmanStack),   sizeof(ElmanTable)};
  return n < int64_t(sizeof sizes / sizeof *sizes) ? sizes[n] : 0;
}

ELMAN_API int elman_use(const char* name) {
  for (auto v : elman::variants)
    if (elman::runs_here(v) && !std::strcmp(v->name, name)) {
      elman::active = v;
      return 1;
    }
  return 0;
}

ELMAN_API void elman_set_threads(void* parallel, void* number, void* count) {
  elman::parallel = reinterpret_cast<decltype(elman::parallel)>(parallel);
  elman::thread_number = reinterpret_cast<int (*)()>(number);
  elman::thread_count = reinterpret_cast<int (*)()>(count);
}

ELMAN_API int64_t elman_packed_size(int64_t kind, int64_t units, int64_t gates, int64_t k) {
  return elman::active->packed_size(kind, units, gates, k);
}

ELMAN_API void elman_pack(const void* weight, int64_t kind, int64_t row_stride,
                          int64_t column_stride, int64_t units, int64_t gates, int64_t k,
                          void* packed) {
  elman::active->pack(weight, kind, row_stride, column_stride, units, gates, k, packed);
}

ELMAN_API void elman_forward(const ElmanForward* job) { elman::run(*job, elman::active->forward); }
ELMAN_API void elman_backward(const ElmanBackward* job) {
  elman::run(*job, elman::active->backward);
}
ELMAN_API void elman_product(const ElmanProduct* job) { elman::run(*job, elman::active->product); }
ELMAN_API int elman_read(const ElmanRead* job) { return elman::active->read(*job); }
ELMAN_API int elman_draw(const ElmanDraw* job) { return elman::active->draw(*job); }
ELMAN_API void elman_softmax(const ElmanSoftmax* job) { elman::run(*job, elman::active->softmax); }
}
