// Random projections of per-sample gradients whose inner products are unbiased for the Gram matrix.
// All random numbers are those of core/random.h.
#pragma once
#include <cstdint>

#include "../core/matrix.h"
#include "gradient_gram.h"

namespace xferpipe {

// out (n x k, float32) += one bucket and one sign per coordinate. `first` is the number of the first
// coordinate given, so that a row may come in pieces.
void gradient_sketch_sparse(const Matrix& gradients, int64_t k, uint64_t seed, int64_t first,
                            float* out);

// folded (n x size, float32) += coordinates with random signs, wrapped around `size`.
void gradient_sketch_fold(const Matrix& gradients, int64_t size, uint64_t seed, int64_t first,
                          float* folded);

// out (n x k) = scale * rows `chosen` of the Walsh-Hadamard transform of each folded row, in place.
void gradient_sketch_hadamard(float* folded, int64_t n, int64_t size, const int64_t* chosen,
                              int64_t k, float scale, float* out);

// out (n x k) += scale * X R^T with R (k x p_total) of signs, or standard normal, made on the fly.
void gradient_sketch_dense(const Matrix& gradients, int64_t k, uint64_t seed, int64_t first,
                           int64_t p_total, bool normal, float scale, float* out);

// out (n x k): the first k entries of (R1 D_i)(R2 A_i)^T / sqrt(k), R1 (k1 x outputs), R2 (k2 x
// inputs) of signs.
void gradient_sketch_kronecker(const Factors& factors, int64_t k1, int64_t k2, int64_t k,
                               uint64_t seed, float* out);

}  // namespace xferpipe
