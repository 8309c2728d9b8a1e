// The register tile: up to kRowPanel x (kColumnVectors * kWidth) accumulators that never leave registers.
#pragma once
#include "vector.h"

namespace xferpipe::XFERPIPE_ISA {

// What a step multiplies: float32 values, or pairs of bfloat16 values (two products per lane).
struct Singles {
  using Operand = Vector;
  static Operand right(const float* p) { return load(p); }
  static Operand left(const float* p) { return broadcast(p); }
  static Vector multiply(Operand a, Operand b, Vector c) { return multiply_add(a, b, c); }
};

#if defined(__AVX512BF16__)
struct Pairs {
  using Operand = __m512bh;
  static Operand right(const float* p) { return (__m512bh)_mm512_loadu_ps(p); }
  static Operand left(const float* p) { return (__m512bh)_mm512_set1_ps(*p); }
  static Vector multiply(Operand a, Operand b, Vector c) { return _mm512_dpbf16_ps(c, a, b); }
};
#endif

// The first kRows rows of a panel.
template <class Product, int kRows>
static inline void register_tile(int64_t depth, const float* __restrict a,
                                 const float* __restrict b, const float* bias,
                                 float* __restrict c, int64_t c_stride) {
  Vector sum[kRows][kColumnVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) sum[r][v] = zero();
  }
  for (int64_t k = 0; k < depth; ++k) {
    typename Product::Operand right[kColumnVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) right[v] = Product::right(b + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const typename Product::Operand left = Product::left(a + r);
#pragma GCC unroll 4
      for (int v = 0; v < kColumnVectors; ++v) {
        sum[r][v] = Product::multiply(left, right[v], sum[r][v]);
      }
    }
    a += kRowPanel;
    b += kColumnPanel;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumnVectors; ++v) {
      float* at = c + r * c_stride + v * kWidth;
      Vector total = add(load(at), sum[r][v]);
      if (bias) total = add(total, load(bias + v * kWidth));
      store(at, total);
    }
  }
}

template <class Product>
static void multiply_panels(int64_t depth, int64_t rows, const float* a, int64_t a_stride,
                            int64_t column_panels, const float* b, int64_t b_stride,
                            const float* bias, float* c, int64_t c_stride, bool skip_below,
                            int64_t diagonal) {
  // The right panel stays in the first-level cache while the left panels stream past it.
  for (int64_t j = 0; j < column_panels; ++j) {
    const float* right = b + j * b_stride;
    const float* own_bias = bias ? bias + j * kColumnPanel : nullptr;
    // With `skip_below`, the rows that come after the panel's last column are below the diagonal.
    const int64_t last = skip_below ? (j + 1) * kColumnPanel - diagonal : rows;
    const int64_t end = last < rows ? last : rows;
    for (int64_t i = 0; i < end; i += kRowPanel) {
      const float* left = a + i / kRowPanel * a_stride;
      float* out = c + i * c_stride + j * kColumnPanel;
      const auto run = end - i <= 2               ? register_tile<Product, 2>
                       : end - i <= kRowPanel / 2 ? register_tile<Product, kRowPanel / 2>
                                                  : register_tile<Product, kRowPanel>;
      run(depth, left, right, own_bias, out, c_stride);
    }
  }
}

}  // namespace xferpipe::XFERPIPE_ISA
