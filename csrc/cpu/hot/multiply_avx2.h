// The register tile of AVX2: 6 x 16 accumulators in twelve of sixteen registers, and what it asks of
// the caches. A right panel of 512 steps is as large as the first-level cache, and six rows take 15 bytes
// per cycle: left to its own prefetchers, Zen 3 loses a tenth of the time.
#pragma once
#include "vector.h"

namespace xferpipe::XFERPIPE_ISA {

constexpr int64_t kSteps = 4;  // unrolled, with one round of prefetches

// What comes next: the left panel whole, and of the right panel this tile's share.
struct Ahead {
  const float *left, *right;
  int64_t share;  // floats of the right panel per kSteps

  void fetch() {
    _mm_prefetch(reinterpret_cast<const char*>(left), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(left + 16), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(right), _MM_HINT_T1);
    left += kSteps * kRowPanel;
    right += share;
  }
};

// The first kRows rows of a panel.
template <int kRows>
static void register_tile(int64_t depth, const float* __restrict a, const float* __restrict b,
                          const float* bias, float* __restrict c, int64_t c_stride, Ahead ahead) {
  Vector sum[kRows][2];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) sum[r][0] = sum[r][1] = zero();
  const auto step = [&](const float* left, const float* right) __attribute__((always_inline)) {
    const Vector first = load(right), second = load(right + kWidth);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const Vector value = broadcast(left + r);
      sum[r][0] = multiply_add(value, first, sum[r][0]);
      sum[r][1] = multiply_add(value, second, sum[r][1]);
    }
  };
  int64_t k = 0;
  for (; k + kSteps <= depth; k += kSteps, a += kSteps * kRowPanel, b += kSteps * kColumnPanel) {
    ahead.fetch();
#pragma GCC unroll 4
    for (int64_t s = 0; s < kSteps; ++s) step(a + s * kRowPanel, b + s * kColumnPanel);
  }
  for (; k < depth; ++k, a += kRowPanel, b += kColumnPanel) step(a, b);
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      float* at = c + r * c_stride + v * kWidth;
      Vector total = add(load(at), sum[r][v]);
      if (bias) total = add(total, load(bias + v * kWidth));
      store(at, total);
    }
  }
}

// As multiply_panels of multiply.h.
static void multiply_panels_ahead(int64_t depth, int64_t rows, const float* a, int64_t a_stride,
                                  int64_t column_panels, const float* b, int64_t b_stride,
                                  const float* bias, float* c, int64_t c_stride, bool skip_below,
                                  int64_t diagonal) {
  for (int64_t j = 0; j < column_panels; ++j) {
    const float* right = b + j * b_stride;
    const float* own_bias = bias ? bias + j * kColumnPanel : nullptr;
    const int64_t last = skip_below ? (j + 1) * kColumnPanel - diagonal : rows;
    const int64_t end = last < rows ? last : rows;
    const int64_t share = kSteps * kColumnPanel * kRowPanel / (end > kRowPanel ? end : kRowPanel);
    // After the last panel comes the next block of steps of the first.
    Ahead ahead = {a, j + 1 < column_panels ? right + b_stride : b + depth * kColumnPanel, share};
    for (int64_t i = 0; i < end; i += kRowPanel) {
      const float* left = a + i / kRowPanel * a_stride;
      float* out = c + i * c_stride + j * kColumnPanel;
      ahead.left = i + kRowPanel < end ? left + a_stride : a;
      const auto run = end - i <= 2               ? register_tile<2>
                       : end - i <= kRowPanel / 2 ? register_tile<kRowPanel / 2>
                                                  : register_tile<kRowPanel>;
      run(depth, left, right, own_bias, out, c_stride, ahead);
      ahead.right += depth / kSteps * share;
    }
  }
}

}  // namespace xferpipe::XFERPIPE_ISA
