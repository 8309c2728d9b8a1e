// What the binding calls on the device. Pointers are device pointers, `stream` is torch's current
// stream; functions return null or the name of the CUDA error of the launch. Nothing here allocates
// or waits.
#pragma once
#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe::cuda {

// norms (rows): squared norm of each row.
const char* squared_norms(const Matrix& rows, double* norms, void* stream);

// Scores of a block of queries (queries x columns, `stride` apart) to places: nearer (pairs) += columns
// before each pair of the queries' offsets. pair_scores is null where every pair is a column of this
// block. Offsets and rows that name nothing are left out, whatever they are.
const char* count_before(const float* scores, int64_t queries, int64_t stride, int64_t columns,
                         const int64_t* offsets, const int64_t* index, int64_t pairs,
                         const float* pair_scores, int64_t first_row, int64_t* nearer,
                         void* stream);

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
const char* best_of_rows(const float* scores, int64_t queries, int64_t stride, int64_t columns,
                         int64_t k, int64_t first_row, float* best, int64_t* rows, float* lowest,
                         void* stream);

// What the operands of a score hold beside the numbers. For Euclidean distances a score is q.g - |g|^2 /
// 2: three more columns are ones on the left, and on the right the parts of -|g|^2 / 2. For cosines
// the rows on the right are divided by their lengths; a row of zeros has no direction, and its cosine
// is taken as 0.
enum class Tail : int64_t { kNone = 0, kOnes = 1, kHalfNorm = 2, kUnit = 3 };
constexpr int kTailColumns = 8;  // as many as keep rows aligned

// What becomes of a matrix: `planes` copies with `plane_stride` between them, of rows_out rows
// (`row_stride` apart) by columns_out columns; zeros beyond the matrix. Bit p of `lows` says that
// plane p holds what the high part leaves.
struct SplitTarget {
  uint16_t* out;
  int64_t rows, columns, row_stride, plane_stride;
  int planes, lows;
  bool float16;  // one part; else bfloat16
  Tail tail;     // after the planes of each row, which are then contiguous
};

// What rows are changed by, where it is not null.
struct RowChanges {
  const double* shift;    // (columns), subtracted
  const float* scale;     // (rows, or one for all: a step of 0), multiplied
  int64_t scale_step;
  const double* norms;    // (rows), squared, for the tail
};

const char* split(const Matrix& matrix, const RowChanges& changes, const SplitTarget& target,
                  void* stream);
const char* float16_scale(const float* largest, int64_t count, float* scale, void* stream);

// sums (classes x d) = rows order[starts[c]] .. order[starts[c + 1] - 1] of class c; largest (1) becomes
// the bits of the largest magnitude if those are more.
const char* class_sums(const Matrix& features, const int64_t* order, const int64_t* starts,
                       int64_t classes, double* sums, int* largest, void* stream);

// A panel of a symmetric product: sums (slabs, height, width) of rows first .. first + height - 1 with
// the rows from `first` on, and where `cross` is not null with what the rounding of all rows left after
// those: `padded` rows each. Added to gram and cross (n x n).
const char* add_panel(const float* sums, int64_t slabs, int64_t height, int64_t width, int64_t first,
                      int64_t padded, int64_t n, double* gram, double* cross, void* stream);
// From sums of classes, rows starts[c] .. starts[c + 1] - 1 of n: mean (d), and partial
// (mean_tiles(d), 3) = squares of the centred sums, mean . centred sum times count, |mean|^2.
int64_t mean_tiles(int64_t d);
const char* class_moments(const double* sums, const int64_t* starts, int64_t classes, int64_t d,
                          int64_t n, double* mean, double* partial, void* stream);
// The correlation from those, from gram_moments and from `power` (1), by which the features were
// multiplied. `raw` adds what centring took; `along` (1), where it is not null, replaces m^T G m.
const char* correlation(const double* class_partial, int64_t class_tiles,
                        const double* gram_partial, int64_t gram_tiles, const int64_t* starts,
                        int64_t classes, int64_t n, bool raw, const float* power,
                        const double* along, double* out, void* stream);

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
