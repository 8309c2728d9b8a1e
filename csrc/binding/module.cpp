// The Python module: what the build and this machine offer. The ops are registered with torch by the
// other files of this folder.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <map>
#include <string>

#include "../core/parallel.h"
#include "../cpu/hot/kernels.h"
#include "checks.h"

namespace {

void run_on_torch_pool(int64_t begin, int64_t end, int64_t grain, xferpipe::RangeFunction function,
                       void* context) {
  torch::stable::parallel_for(begin, end, grain,
                              [=](int64_t from, int64_t to) { function(from, to, context); });
}
int64_t torch_threads() { return torch::stable::get_num_threads(); }

std::map<std::string, std::string> build_info() {
  std::string compiled = "scalar";
  if (xferpipe::kernels_avx2()) compiled += " avx2";
  if (xferpipe::kernels_avx512()) compiled += " avx512";
  return {{"source_hash", XFERPIPE_SOURCE_HASH},
          {"compiler", XFERPIPE_COMPILER},
          {"compiled_instruction_sets", compiled},
          {"cuda", XFERPIPE_CUDA},
          {"torch_stable_abi_floor", "2.11"}};
}

std::map<std::string, std::string> dispatch_info() {
  return {{"instruction_set", xferpipe::kernels().name},
          {"bfloat16_dot", xferpipe::kernels().multiply_pairs ? "yes" : "no"},
          {"threads", std::to_string(torch_threads())}};
}

// Floating-point operations done by `steps` steps of the multiply-add loop on every thread.
double multiply_add_operations(int64_t steps) {
  const auto& k = xferpipe::kernels();
  const int64_t threads = torch_threads();
  std::atomic<float> total{0.0f};
  xferpipe::parallel_items(threads,
                           [&](int64_t, int64_t) { total = k.multiply_add_loop(steps); });
  return static_cast<double>(threads) * static_cast<double>(steps * k.loop_operations);
}

}  // namespace

PYBIND11_MODULE(XFERPIPE_MODULE, m) {
  xferpipe::thread_pool() = {run_on_torch_pool, torch_threads};
  m.def("build_info", &build_info, "What this extension was built from and with.");
  m.def("multiply_add_operations", &multiply_add_operations,
        "Run multiply-adds on registers alone and return how many operations that was.");
  m.def("dispatch_info", &dispatch_info, "What the kernels use on this machine.");
}
