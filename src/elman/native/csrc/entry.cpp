// What Python calls: chooses the instruction set and hands the work to OpenMP's threads.
#include <cstring>

#include "loops.h"
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#include <sched.h>
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
    if (spins > 2000) sched_yield();  // a core short: let the others have this one
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

#if defined(ELMAN_AMX)
// The processor has tiles for bfloat16 and int8, and the kernel lets this process use them: they are 8 KB
// more to be kept of each thread, so it wants to be asked once.
bool has_tiles() {
  static const bool has = [] {
    unsigned a, b, c, d;
    constexpr unsigned TILES = 1u << 22 | 1u << 24 | 1u << 25;  // AMX-BF16, AMX-TILE, AMX-INT8
    constexpr long ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & TILES) == TILES &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
  }();
  return has;
}
#endif

bool runs_here(const Variant* v) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
#if defined(ELMAN_AMX)
  if (v == &amx::variant && !has_tiles()) return false;
#endif
#if defined(ELMAN_BF16)
  if (v == &avx512bf16::variant && !__builtin_cpu_supports("avx512bf16")) return false;
#endif
#if defined(ELMAN_AVXVNNI)
  unsigned a = 0, b, c, d;
  constexpr unsigned AVX_VNNI = 1u << 4;
  if (v == &avxvnni::variant) return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & AVX_VNNI;
#endif
  if (v != &avx2::variant && v != &avx512::variant && !__builtin_cpu_supports("avx512vnni"))
    return false;
  if (v != &avx2::variant)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
  return v != nullptr;
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

#define ELMAN_API __attribute__((visibility("default")))

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
