// Body of the top-k lists: each block keeps, for 128 queries and a range of gallery tiles, the k
// best scores so far; lists of the ranges are merged by the caller.
#pragma once
#include "rank_metrics.cuh"

namespace xferpipe::cuda {

constexpr int64_t kNoRow = INT64_MAX;

// A list of k scores, best first, ties by row, kept by one warp.
struct BestList {
  float* scores;
  int64_t* rows;
  int64_t k;

  XFERPIPE_HOST_DEVICE bool takes(float score) const {
    // Rows come in ascending order, so a later one never wins a tie.
    return score > scores[k - 1] || rows[k - 1] == kNoRow;
  }
  // All lanes call this with the same candidate.
  template <class Context>
  XFERPIPE_HOST_DEVICE void insert(Context& context, float score, int64_t row) {
    const int lane = context.thread() % 32;
    int64_t place = 0;
    for (int64_t at = 0; at < k; at += 32) {
      const int64_t i = at + lane;
      const bool before =
          i < k && (scores[i] > score || (scores[i] == score && rows[i] != kNoRow));
      const uint32_t found = context.ballot(before);
      for (uint32_t bits = found; bits; bits &= bits - 1) ++place;
      if (found != 0xffffffffu) break;  // the list is in order
    }
    for (int64_t at = (k - 1) / 32 * 32; at + 32 > place && at >= 0; at -= 32) {
      const int64_t i = at + lane;
      const bool moves = i < k && i > place;
      const float moved_score = moves ? scores[i - 1] : 0.0f;
      const int64_t moved_row = moves ? rows[i - 1] : 0;
      context.warp_sync();
      if (moves) {
        scores[i] = moved_score;
        rows[i] = moved_row;
      }
      context.warp_sync();
    }
    if (lane == 0) {
      scores[place] = score;
      rows[place] = row;
    }
    context.warp_sync();
  }
};

// Block (x, y): queries of tile x, gallery tiles y * tiles_each and following. scores and rows are
// (ranges, queries, k); `lowest`, where asked for, is (ranges, queries).
template <bool kSplit, class Context>
XFERPIPE_HOST_DEVICE inline void nearest_body(Context& context, const ScoreJob& job, int64_t k,
                                              int64_t tiles_each, int64_t first_row, float* scores,
                                              int64_t* rows, float* lowest, float* shared) {
  const int64_t query = context.block_x() * kTile, range = context.block_y();
  const int queries = up_to_tile(job.query.rows - query);
  const int thread = context.thread(), warp = thread / 32, lane = thread % 32;
  const int64_t own = (range * job.query.rows + query) * k;
  for (int64_t i = thread; i < queries * k; i += kThreads) {
    scores[own + i] = -INFINITY;
    rows[own + i] = kNoRow;
  }
  float least = INFINITY;
  for (int64_t tile = range * tiles_each; tile < (range + 1) * tiles_each; ++tile) {
    const int64_t column = tile * kTile;
    if (column >= job.gallery.rows) break;
    const int columns = up_to_tile(job.gallery.rows - column);
    score_tile<kSplit>(context, job, query, column, shared);
    for (int q = warp; q < queries; q += kThreads / 32) {
      BestList list = {scores + own + q * k, rows + own + q * k, k};
      for (int c = 0; c < columns; c += 32) {
        const float* score = shared + q * kScoresPitch + c;
        const bool in = c + lane < columns;
        for (uint32_t bits = context.ballot(in && list.takes(score[lane])); bits;
             bits &= bits - 1) {
          int from = 0;  // the lowest set bit
          while (!(bits >> from & 1)) ++from;
          if (list.takes(score[from])) {
            list.insert(context, score[from], first_row + column + c + from);
          }
        }
      }
    }
    if (lowest && thread < queries) {
      for (int c = 0; c < columns; ++c) {
        const float score = shared[thread * kScoresPitch + c];
        least = score < least ? score : least;
      }
    }
    context.sync();  // the scores have been read
  }
  if (lowest && thread < queries) lowest[range * job.query.rows + query + thread] = least;
}

}  // namespace xferpipe::cuda
