// Chooses the instruction set once, at the first call; XFERPIPE_ISA in the environment overrides.
#include <cstdlib>
#include <cstring>

#include "../core/parallel.h"
#include "../core/workspace.h"
#include "hot/kernels.h"

namespace xferpipe {

#if !defined(XFERPIPE_HAS_AVX512)
const Kernels* kernels_avx512() { return nullptr; }
#endif
#if !defined(XFERPIPE_HAS_AVX2)
const Kernels* kernels_avx2() { return nullptr; }
#endif

namespace {

bool machine_has_avx512() {
#if defined(XFERPIPE_HAS_AVX512)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

bool machine_has_avx2() {
#if defined(XFERPIPE_HAS_AVX2)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

const Kernels& choose() {
  const char* wanted = std::getenv("XFERPIPE_ISA");
  const bool any = !wanted || !*wanted;
  if ((any || !std::strcmp(wanted, "avx512")) && machine_has_avx512()) return *kernels_avx512();
  if ((any || !std::strcmp(wanted, "avx2")) && machine_has_avx2()) return *kernels_avx2();
  return *kernels_scalar();
}

void run_here(int64_t begin, int64_t end, int64_t, RangeFunction function, void* context) {
  function(begin, end, context);
}
int64_t one_thread() { return 1; }

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

ThreadPool& thread_pool() {
  static ThreadPool pool = {run_here, one_thread};
  return pool;
}

Workspace& workspace() {
  thread_local Workspace own;
  return own;
}

}  // namespace xferpipe
