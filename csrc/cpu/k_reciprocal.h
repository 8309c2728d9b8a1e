// k-reciprocal re-ranking on sparse rows (Zhong et al., CVPR 2017). Items are the queries followed by
// the gallery, N in all; no N x N matrix exists.
#pragma once
#include <cstdint>
#include <vector>

#include "../core/matrix.h"

namespace xferpipe {

// The k nearest items of every item among all N, itself included, as scores (see score_tiles.h) and
// item numbers, N x k; and the lowest score of each row, that of its farthest item. Each product is
// computed once and serves both rows. `kept`, unless null, receives the scores of the gallery for each
// query (queries x gallery rows).
void k_reciprocal_neighbours(const Matrix& query, const Matrix& gallery, const double* norms,
                             int64_t k, float* scores, int64_t* index, float* lowest,
                             float* kept);

struct SparseRows {
  std::vector<int64_t> offsets, index;
  std::vector<float> values;
};

// Jaccard distances of each query to the gallery items it shares a neighbour with; all others are 1.
// `k1` + 1 neighbours per item are given.
SparseRows k_reciprocal_rows(const Matrix& query, const Matrix& gallery, const double* norms,
                             const float* scores, const int64_t* index, const float* lowest,
                             int64_t k1, int64_t k2);

}  // namespace xferpipe
