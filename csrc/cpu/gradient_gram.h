// Exact Gram matrix of per-sample gradients, given as rows or as a convolution's factors.
#pragma once
#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe {

// gram (n x n, float64; only j >= i is kept) += X X^T for rows X (n x p).
void gradient_gram(const Matrix& gradients, double* gram);

// Per-sample factors of a convolution: the gradient of sample i is D_i A_i^T, with D_i
// (outputs x positions) and A_i (inputs x positions), each stored row by row.
struct Factors {
  const float* outputs;  // n x output_count x positions
  const float* inputs;   // n x input_count x positions
  int64_t samples, output_count, input_count, positions;
};

// Whether products of single positions take fewer multiply-adds than building the gradients does.
bool gradient_gram_by_positions(const Factors& factors);

// gram += <D_i A_i^T, D_j A_j^T>, by whichever takes fewer multiply-adds: tiles of the gradients that are
// built, used and discarded, or products of single positions.
void gradient_gram_factors(const Factors& factors, double* gram);

}  // namespace xferpipe
