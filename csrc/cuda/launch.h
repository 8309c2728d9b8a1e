// What the binding file calls on the device. Pointers are device pointers, `stream` is torch's
// current stream; functions return null or the name of the CUDA error of the launch.
#pragma once
#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe::cuda {

const char* rank_metrics_counts(const Matrix& query, const Matrix& gallery, const double* norms,
                                Distance distance, const int64_t* offsets, const float* value,
                                const int64_t* row, int64_t first_row, int64_t* nearer,
                                void* stream);

// Queries chosen[0 .. queries) share the list rows[0 .. columns); entry (q, c) goes to
// out[places[q] + c].
const char* rank_metrics_scores(const Matrix& query, const Matrix& gallery, const double* norms,
                                Distance distance, const int64_t* chosen, int64_t queries,
                                const int64_t* rows, int64_t columns, const int64_t* places,
                                float* out, void* stream);

const char* label_correlation_columns(const Matrix& features, const int64_t* labels, double* gram,
                                      double* class_sums, void* stream);

const char* gradient_gram(const Matrix& gradients, double* gram, void* stream);

const char* gradient_sketch_hash(uint64_t seed, int64_t first, int64_t count, int64_t k,
                                 uint32_t* table, void* stream);
const char* gradient_sketch_gather(const Matrix& gradients, int64_t k, const uint32_t* table,
                                   const int64_t* starts, const int64_t* order, float* out,
                                   void* stream);

}  // namespace xferpipe::cuda
