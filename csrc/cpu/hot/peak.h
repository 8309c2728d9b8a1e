// What the machine can do at most, for the benchmarks.
#pragma once
#include "vector.h"

namespace xferpipe::XFERPIPE_ISA {

// Multiply-adds with nothing to load: what the machine can do at most. Returns a value that depends
// on all of them, so that none is left out.
static float multiply_add_loop(int64_t steps) {
  constexpr int kChains = 12;
  const float near_one = 0.999f, small = 1e-3f;
  const Vector x = broadcast(&near_one), y = broadcast(&small);
  Vector sum[kChains];
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) {
    // Chains that start alike would be computed once.
    const float start = static_cast<float>(steps % 7) * 1e-3f * static_cast<float>(i + 1);
    sum[i] = broadcast(&start);
  }
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sum[i] = multiply_add(sum[i], x, y);
  }
  float out[kWidth], total = 0.0f;
  for (int i = 0; i < kChains; ++i) {
    store(out, sum[i]);
    total += out[0];
  }
  return total;
}
constexpr int64_t kLoopOperations = 12 * kWidth * 2;

}  // namespace xferpipe::XFERPIPE_ISA
