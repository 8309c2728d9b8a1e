// Symmetric products with float64 sums, shared by label_correlation and gradient_gram.
#pragma once
#include <cstdint>

namespace xferpipe {

// Steps per slab: float32 sums of this many products are added to float64, so that the error does
// not grow with the depth.
constexpr int64_t kSlabRows = 1024;

// Both operands of a symmetric product over `depth` steps, packed: left[panel][k][row_panel] and
// right[panel][k][column_panel]. With `pairs` a step is two bfloat16 values.
struct Operands {
  float* left;
  float* right;
  int64_t depth;
  bool pairs;
};

// gram += left^T right on and above the diagonal, in float32 slabs added to float64.
void add_symmetric_product(const Operands& packed, int64_t size, double* gram);

// The rows of the left panels that a right panel holds, while it is in the cache.
void copy_left_panels(const Operands& packed, int64_t panel, int64_t size);

// Squared Frobenius norm of a symmetric matrix of which j >= i is given.
double symmetric_square(const double* gram, int64_t size);

// v^T G v of such a matrix.
double symmetric_form(const double* gram, int64_t size, const double* v);

}  // namespace xferpipe
