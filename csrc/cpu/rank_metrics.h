// Ranking of a gallery for each query without a sort of the gallery or a q x m matrix.
//
// "Pairs" are the gallery items that matter to a query (its hits and its junk), as index lists:
// those of query i are index[offsets[i]] .. index[offsets[i + 1] - 1].
#pragma once
#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe {

struct Pairs {
  const int64_t* offsets;  // queries + 1
  const int64_t* index;    // rows of the gallery
  int64_t queries;
  int64_t count() const { return offsets[queries]; }
};

// The score of every pair, with the bits it has inside a tile.
void rank_metrics_scores(const Matrix& query, const Matrix& gallery, const double* gallery_norms,
                         const Pairs& pairs, Distance distance, float* scores);

// nearer[p] += gallery items that come before pair p in the order (score descending, row ascending).
// The gallery given here is the block of rows that starts at `first_row`.
void rank_metrics_counts(const Matrix& query, const Matrix& gallery, const double* gallery_norms,
                         const Pairs& pairs, const float* scores, Distance distance,
                         int64_t first_row, int64_t* nearer);

// The same from a dense block of distances: rows `first_query` ... of the pairs.
void rank_metrics_dense(const float* distances, int64_t rows, int64_t columns, int64_t stride,
                        const Pairs& pairs, int64_t first_query, int64_t* nearer);

// AP, INP, first hit, hits and junk of each query from the rank of every pair in the whole gallery.
void rank_metrics_summary(const Pairs& pairs, const int64_t* nearer, const uint8_t* junk,
                          AveragePrecision kind, double* ap, double* inp, int64_t* first_hit,
                          int64_t* positives, int64_t* junk_count);

}  // namespace xferpipe
