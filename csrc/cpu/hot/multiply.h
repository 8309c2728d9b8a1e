// The register tile: kRowPanel x (kColumnVectors * kWidth) accumulators that never leave registers.
#pragma once
#include "vector.h"

namespace xferpipe::XFERPIPE_ISA {

static inline void register_tile(int64_t depth, const float* __restrict a,
                                 const float* __restrict b, const float* bias,
                                 float* __restrict c, int64_t c_stride) {
  Vector sum[kRowPanel][kColumnVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRowPanel; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) sum[r][v] = zero();
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[kColumnVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) right[v] = load(b + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < kRowPanel; ++r) {
      const Vector left = broadcast(a + r);
#pragma GCC unroll 4
      for (int v = 0; v < kColumnVectors; ++v) {
        sum[r][v] = multiply_add(left, right[v], sum[r][v]);
      }
    }
    a += kRowPanel;
    b += kColumnPanel;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRowPanel; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) {
      float* at = c + r * c_stride + v * kWidth;
      Vector total = add(load(at), sum[r][v]);
      if (bias) total = add(total, load(bias + v * kWidth));
      store(at, total);
    }
  }
}

#if defined(__AVX512F__)
// Two bfloat16 products per lane and step; `depth` counts pairs.
__attribute__((target("avx512bf16"))) static inline void register_tile_pairs(
    int64_t depth, const float* __restrict a, const float* __restrict b, const float* bias,
    float* __restrict c, int64_t c_stride) {
  __m512 sum[kRowPanel][kColumnVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRowPanel; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) sum[r][v] = zero();
  }
  for (int64_t k = 0; k < depth; ++k) {
    __m512bh right[kColumnVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) {
      right[v] = (__m512bh)_mm512_loadu_ps(b + v * kWidth);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRowPanel; ++r) {
      const __m512bh left = (__m512bh)_mm512_set1_ps(a[r]);
#pragma GCC unroll 4
      for (int v = 0; v < kColumnVectors; ++v) {
        sum[r][v] = _mm512_dpbf16_ps(sum[r][v], left, right[v]);
      }
    }
    a += kRowPanel;
    b += kColumnPanel;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRowPanel; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) {
      float* at = c + r * c_stride + v * kWidth;
      Vector total = add(load(at), sum[r][v]);
      if (bias) total = add(total, load(bias + v * kWidth));
      store(at, total);
    }
  }
}
#endif

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

static inline bool below_diagonal(int64_t row, int64_t column, int64_t diagonal) {
  return column + kColumnPanel <= row + diagonal;
}

static void multiply(int64_t depth, int64_t row_panels, const float* a, int64_t a_stride,
                     int64_t column_panels, const float* b, int64_t b_stride, const float* bias,
                     float* c, int64_t c_stride, bool skip_below, int64_t diagonal) {
  // The right panel stays in the first-level cache while the left panels stream past it.
  for (int64_t j = 0; j < column_panels; ++j) {
    for (int64_t i = 0; i < row_panels; ++i) {
      if (skip_below && below_diagonal(i * kRowPanel, j * kColumnPanel, diagonal)) continue;
      register_tile(depth, a + i * a_stride, b + j * b_stride,
                    bias ? bias + j * kColumnPanel : nullptr, c + i * kRowPanel * c_stride + j * kColumnPanel, c_stride);
    }
  }
}

#if defined(__AVX512F__)
__attribute__((target("avx512bf16"))) static void multiply_pairs(
    int64_t depth, int64_t row_panels, const float* a, int64_t a_stride, int64_t column_panels,
    const float* b, int64_t b_stride, const float* bias, float* c, int64_t c_stride,
    bool skip_below, int64_t diagonal) {
  for (int64_t j = 0; j < column_panels; ++j) {
    for (int64_t i = 0; i < row_panels; ++i) {
      if (skip_below && below_diagonal(i * kRowPanel, j * kColumnPanel, diagonal)) continue;
      register_tile_pairs(depth, a + i * a_stride, b + j * b_stride,
                          bias ? bias + j * kColumnPanel : nullptr, c + i * kRowPanel * c_stride + j * kColumnPanel, c_stride);
    }
  }
}
#endif

}  // namespace xferpipe::XFERPIPE_ISA
