// Bodies of the ranking kernels; see csrc/cpu/rank_metrics.h for what they compute.
#pragma once
#include <cmath>

#include "tile.cuh"

namespace xferpipe::cuda {

// A score is q.g - |g|^2/2 for Euclidean distance and q.g/|g| for cosine; `norms` are |g|^2.
struct ScoreJob {
  Operand query, gallery;
  int64_t depth;
  const double* norms;
  bool cosine;

  XFERPIPE_HOST_DEVICE float score(float product, int64_t row) const {
    const double norm = norms[row];
    if (!cosine) return product + static_cast<float>(-0.5 * norm);
    // A row of zeros has no direction: its cosine is taken as 0.
    return norm > 0.0 ? product * static_cast<float>(1.0 / sqrt(norm)) : 0.0f;
  }
};

// Thresholds of each query, with the gallery row each belongs to.
struct ThresholdLists {
  const int64_t* offsets;  // queries + 1
  const float* value;
  const int64_t* row;
};

// The next smaller float: "score > next_below(value)" is "score >= value".
XFERPIPE_HOST_DEVICE inline float next_below(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (value > 0.0f) {
    bits -= 1;
  } else {
    bits = value == 0.0f ? 0x80000001u : bits + 1;
  }
  memcpy(&value, &bits, sizeof value);
  return value;
}

template <class Context>
XFERPIPE_HOST_DEVICE inline void scores_to_shared(Context& context, const ScoreJob& job,
                                                  int64_t first_column, const Accumulators& sum,
                                                  float* scores) {
  to_shared(context, sum, scores);
  for (int e = context.thread(); e < kTile * kTile; e += kThreads) {
    const int64_t column = first_column + e % kTile;
    if (column >= job.gallery.rows) continue;
    const int64_t from = job.gallery.chosen ? job.gallery.chosen[column] : column;
    float* score = scores + (e / kTile) * kScoresPitch + e % kTile;
    *score = job.score(*score, from);
  }
  context.sync();
}

// One block: 128 queries against 128 gallery rows, counted and thrown away.
template <bool kSplit, class Context>
XFERPIPE_HOST_DEVICE inline void count_body(Context& context, const ScoreJob& job,
                                            const ThresholdLists& lists, int64_t first_row,
                                            int64_t* nearer, float* shared) {
  const int64_t query = context.block_y() * kTile, column = context.block_x() * kTile;
  Accumulators sum;
  clear(sum);
  multiply_tile<kSplit>(context, job.query, query, job.gallery, column, 0, job.depth, shared, sum);
  scores_to_shared(context, job, column, sum, shared);
  const int columns =
      static_cast<int>(job.gallery.rows - column < kTile ? job.gallery.rows - column : kTile);
  const int64_t begin = first_row + column, end = begin + columns;
  const int warp = context.thread() / 32, lane = context.thread() % 32;
  // A warp takes a query, a lane a threshold: all lanes read the same score at a time.
  for (int q = warp; q < kTile; q += kThreads / 32) {
    if (query + q >= job.query.rows) break;
    const float* scores = shared + q * kScoresPitch;
    const int64_t to = lists.offsets[query + q + 1];
    for (int64_t t = lists.offsets[query + q] + lane; t < to; t += 32) {
      const int64_t row = lists.row[t];
      const float value = lists.value[t];
      const float limit = row >= end ? next_below(value) : value;
      int count = 0;
      for (int c = 0; c < columns; ++c) count += scores[c] > limit;
      if (row > begin && row < end) {
        for (int c = 0; c < static_cast<int>(row - begin); ++c) count += scores[c] == value;
      }
      if (count) context.add(nearer + t, count);
    }
  }
}

// Scores of one group of queries that share a list: `out` holds the list's length per query.
template <bool kSplit, class Context>
XFERPIPE_HOST_DEVICE inline void pair_body(Context& context, const ScoreJob& job,
                                           const int64_t* places, float* out, float* shared) {
  const int64_t query = context.block_y() * kTile, column = context.block_x() * kTile;
  Accumulators sum;
  clear(sum);
  multiply_tile<kSplit>(context, job.query, query, job.gallery, column, 0, job.depth, shared, sum);
  scores_to_shared(context, job, column, sum, shared);
  for (int e = context.thread(); e < kTile * kTile; e += kThreads) {
    const int64_t q = query + e / kTile, c = column + e % kTile;
    if (q >= job.query.rows || c >= job.gallery.rows) continue;
    out[places[q] + c] = shared[(e / kTile) * kScoresPitch + e % kTile];
  }
}

}  // namespace xferpipe::cuda
