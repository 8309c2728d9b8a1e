// The k nearest gallery rows of each query, nearest first; ties by row.
#pragma once
#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe {

// scores and index are queries x k; the gallery given is the block that starts at `first_row` and
// has at least k rows. Scores are those of score_tiles.h.
void nearest_scores(const Matrix& query, const Matrix& gallery, const double* gallery_norms,
                    int64_t k, Distance distance, int64_t first_row, float* scores, int64_t* index);

}  // namespace xferpipe
