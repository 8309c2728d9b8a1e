// What the binding calls on the device. Pointers are device pointers, `stream` is torch's current
// stream; functions return null or the name of the CUDA error of the launch. Nothing here allocates
// or waits.
#pragma once
#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe::cuda {

// A score from a product: with a bias added to the product or multiplied with it, one per column; or
// minus the number itself, where distances are given.
enum class Scoring : int64_t { kPlus = 0, kTimes = 1, kMinus = 2 };

// norms (rows): squared norm of each row.
const char* squared_norms(const Matrix& rows, double* norms, void* stream);

// Products of a block of queries (queries x columns, `stride` apart) to places: nearer (pairs) +=
// columns before each pair of the queries' offsets. pair_scores is null where every pair is a column
// of this block.
const char* count_before(const float* product, int64_t queries, int64_t stride, int64_t columns,
                         const float* bias, Scoring scoring, const int64_t* offsets,
                         const int64_t* index, const float* pair_scores, int64_t first_row,
                         int64_t* nearer, void* stream);

// wrong (1) += what is wrong with offsets and rows; a negative `rows` allows any row.
const char* check_pairs(const int64_t* offsets, const int64_t* index, int64_t queries,
                        int64_t count, int64_t rows, int64_t* wrong, void* stream);

// Where each query's rows begin in identities in order, and how many there are.
const char* pair_bounds(const int64_t* ordered, int64_t rows, const int64_t* identity,
                        int64_t queries, int64_t* start, int64_t* length, void* stream);
// index and junk (pairs) of each query; cameras may be null.
const char* fill_pairs(const int64_t* start, const int64_t* offsets, int64_t queries,
                       const int64_t* order, const int64_t* query_camera,
                       const int64_t* gallery_camera, int64_t* index, uint8_t* junk, void* stream);

// The metrics of each query from the ranks of its pairs.
const char* rank_metrics_summary(const int64_t* offsets, int64_t queries, const int64_t* nearer,
                                 const uint8_t* junk, bool trapezoid, double* average_precision,
                                 double* inverse_negative_penalty, int64_t* first_hit,
                                 int64_t* hits, int64_t* junk_count, void* stream);

// The k best columns of each range of columns, best first, ties by column: best and rows (ranges,
// queries, k), filled up with -infinity and INT64_MAX; lowest (ranges, queries).
int64_t column_ranges(int64_t queries, int64_t columns);
int64_t longest_list();
const char* best_of_rows(const float* product, int64_t queries, int64_t stride, int64_t columns,
                         const float* bias, Scoring scoring, int64_t k, int64_t first_row,
                         float* best, int64_t* rows, float* lowest, void* stream);

// Operands of library products: `planes` copies of a matrix, minus `shift` (columns) and times
// `scale` (rows) where those are not null, rounded to bfloat16 or float16; where bit p of `lows` is
// set, plane p holds what the rounding leaves. Zeros beyond the matrix.
const char* split(const Matrix& matrix, const double* shift, const float* scale, uint16_t* out,
                  int64_t planes, int64_t rows, int64_t columns, int64_t row_stride,
                  int64_t plane_stride, int64_t lows, bool float16, void* stream);

// sums (classes x d) = rows order[starts[c]] .. order[starts[c + 1] - 1] of class c; largest (1), where
// it is not null, becomes the bits of the largest magnitude if those are more.
const char* class_sums(const Matrix& features, const int64_t* order, const int64_t* starts,
                       int64_t classes, double* sums, int* largest, void* stream);

// A panel of a symmetric product: sums (slabs, height, width) of rows first .. first + height - 1 with
// the rows from `first` on, and where `cross` is not null with what the rounding of all rows left after
// those: `padded` rows each. Added to gram and cross (n x n).
const char* add_panel(const float* sums, int64_t slabs, int64_t height, int64_t width, int64_t first,
                      int64_t padded, int64_t n, double* gram, double* cross, void* stream);
// With G = gram + cross + cross^T, of which gram's upper half counts: partial (tiles, 2) = |G|^2 and
// m^T G m of each pair of tiles; cross and mean may be null.
int64_t moment_tiles(int64_t n);
const char* gram_moments(const double* gram, const double* cross, const double* mean, int64_t n,
                         double* partial, void* stream);

// Random matrices of core/random.h: rows x columns of signs (16 bits each: float16 or bfloat16) or
// normal values (float32), from column `first` on, a multiple of 128, of a matrix `total` wide.
// Entries from column `total` on are zero.
const char* random_signs(uint64_t seed, int64_t which, int64_t rows, int64_t first, int64_t columns,
                         int64_t total, bool float16, uint16_t* out, void* stream);
const char* random_normals(uint64_t seed, int64_t rows, int64_t first, int64_t columns,
                           int64_t total, float* out, void* stream);

const char* sparse_hash(uint64_t seed, int64_t first, int64_t count, int64_t k, uint32_t* table,
                        uint16_t* turns, void* stream);
const char* sparse_sketch(const Matrix& gradients, int64_t k, const uint32_t* table,
                          const uint16_t* turns, float* out, int shared_limit, void* stream);
const char* sign_words(uint64_t seed, int64_t block, int64_t blocks, uint32_t* out, void* stream);
const char* fold(const Matrix& gradients, int64_t size, int64_t first, const uint32_t* signs,
                 float* folded, void* stream);
// Transforms the rows of values (n x size, a power of two) in place.
const char* hadamard(float* values, int64_t n, int64_t size, int shared_limit, void* stream);

// Shared memory that a block of the current device may have, in bytes.
int shared_memory_limit();

}  // namespace xferpipe::cuda
