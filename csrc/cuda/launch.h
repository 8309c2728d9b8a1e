// What the binding calls on the device. Pointers are device pointers, `stream` is torch's current
// stream; functions return null or the name of the CUDA error of the launch. Nothing here allocates
// or waits.
#pragma once
#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe::cuda {

// norms (rows): squared norm of each row.
const char* squared_norms(const Matrix& rows, double* norms, void* stream);

// nearer (pairs) += gallery rows before each pair; see csrc/cpu/rank_metrics.h.
const char* rank_metrics_counts(const Matrix& query, const Matrix& gallery, const double* norms,
                                Distance distance, const int64_t* offsets, const float* value,
                                const int64_t* row, int64_t first_row, int64_t* nearer,
                                void* stream);
// The same from distances (float32); a value is minus a pair's distance.
const char* rank_metrics_dense(const Matrix& distances, const int64_t* offsets, const float* value,
                               const int64_t* row, int64_t* nearer, void* stream);
const char* rank_metrics_scores(const Matrix& query, const Matrix& gallery, const double* norms,
                                Distance distance, const int64_t* offsets, const int64_t* index,
                                int64_t count, float* out, void* stream);

// The best k of each range of `tiles_each` gallery tiles: scores and rows (ranges, queries, k), best
// first, filled up with -infinity and INT64_MAX. `lowest` (ranges, queries) may be null.
const char* nearest_scores(const Matrix& query, const Matrix& gallery, const double* norms,
                           Distance distance, int64_t k, int64_t tiles_each, int64_t first_row,
                           float* scores, int64_t* rows, float* lowest, void* stream);

// Products of the rows or columns of a matrix with each other. With one part, gram (size x size,
// upper half) is added to, or where it is null `squares` (tiles) gets each tile's share of its
// squared norm. With more parts part_sums is (parts, tiles, 128, 128).
int64_t symmetric_tiles(int64_t size);
const char* symmetric(const Matrix& matrix, bool of_columns, const double* shift, int64_t parts,
                      double* gram, double* part_sums, double* squares, void* stream);
// squares (tiles) of a gram that is done, with the bits that `symmetric` gives them.
const char* gram_squares(double* gram, int64_t size, double* squares, void* stream);

// Rows order[starts[c]] .. order[starts[c + 1] - 1] belong to class c. `shift` may be null.
const char* class_sums(const Matrix& features, const double* shift, const int64_t* order,
                       const int64_t* starts, int64_t classes, double* sums, void* stream);
// `partial` is scratch: (rows / 1024 rounded up, columns).
const char* column_sums(const Matrix& features, double* partial, double* sums, void* stream);
// `moments` is scratch: (2 x columns / 256 rounded up).
const char* correlation(const double* squares, int64_t square_count, const double* class_sums,
                        int64_t classes, int64_t d, const int64_t* class_counts, double* moments,
                        double* out, void* stream);

const char* gradient_sketch_hash(uint64_t seed, int64_t first, int64_t count, int64_t k,
                                 uint32_t* table, uint8_t* turns, void* stream);
const char* gradient_sketch_sparse(const Matrix& gradients, int64_t k, const uint32_t* table,
                                   const uint8_t* turns, float* out, void* stream);
const char* gradient_sketch_signs(uint64_t seed, int64_t block, int64_t blocks, uint32_t* out,
                                  void* stream);
const char* gradient_sketch_fold(const Matrix& gradients, int64_t size, int64_t first,
                                 const uint32_t* signs, float* folded, void* stream);
// Transforms the rows of values (n x size, a power of two) in place.
const char* gradient_sketch_hadamard(float* values, int64_t n, int64_t size, void* stream);
const char* gradient_sketch_dense(const Matrix& gradients, int64_t k, uint64_t seed, int64_t first,
                                  int64_t p_total, bool normal, float scale, float* out,
                                  void* stream);
// out (n, k, positions) += signs (k x depth) times each sample's factor (depth x positions).
const char* gradient_sketch_factor(const float* factor, int64_t n, int64_t depth,
                                   int64_t positions, int64_t k, uint64_t seed, bool left,
                                   float* out, void* stream);
// out (n, limit): for each sample the first entries, row by row, of scale * left times right
// transposed; the factors are (n, rows, positions) with a stride between samples.
const char* gradient_outer(const float* left, const float* right, int64_t n, int64_t left_rows,
                           int64_t right_rows, int64_t positions, int64_t left_sample,
                           int64_t right_sample, int64_t limit, float scale, float* out,
                           void* stream);

}  // namespace xferpipe::cuda
