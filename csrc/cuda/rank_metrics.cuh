// Bodies of the ranking kernels; see csrc/cpu/rank_metrics.h for what they compute.
#pragma once
#include <cmath>

#include "tile.cuh"

namespace xferpipe::cuda {

// A score is q.g - |g|^2/2 for Euclidean distance and q.g/|g| for cosine; `norms` are |g|^2.
struct ScoreJob {
  RowsOf query, gallery;
  int64_t depth;
  const double* norms;
  bool cosine;

  // What is added to a row's products, or what they are multiplied by.
  XFERPIPE_HOST_DEVICE float bias(int64_t row) const {
    const double norm = norms[row];
    if (!cosine) return static_cast<float>(-0.5 * norm);
    // A row of zeros has no direction: its cosine is taken as 0.
    return norm > 0.0 ? static_cast<float>(1.0 / sqrt(norm)) : 0.0f;
  }
  XFERPIPE_HOST_DEVICE float score(float product, float bias) const {
    return cosine ? product * bias : product + bias;
  }
};
constexpr int kScoreFloats = kTileFloats + kTile;  // the tile and the biases of its columns

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

// Scores of 128 queries and 128 gallery rows, in shared memory.
template <bool kSplit, class Context>
XFERPIPE_HOST_DEVICE inline void score_tile(Context& context, const ScoreJob& job, int64_t query,
                                            int64_t column, float* shared) {
  Accumulators sum;
  sum.clear();
  multiply_tile<kSplit, kSplit>(context, job.query, query, job.gallery, column, 0, job.depth,
                                shared, sum);
  float* bias = shared + kTileFloats;
  const int thread = context.thread();
  if (thread < kTile && column + thread < job.gallery.rows) {
    bias[thread] = job.bias(column + thread);
  }
  to_shared(context, sum, shared);
  for (int e = thread; e < kTile * kTile; e += kThreads) {
    const int c = e % kTile;
    if (column + c >= job.gallery.rows) continue;
    float* score = shared + e / kTile * kScoresPitch + c;
    *score = job.score(*score, bias[c]);
  }
  context.sync();
}

// Counts, for `queries` queries from `query` on, how many of the `columns` scores in shared memory
// come before each threshold; the columns are gallery rows `begin` and following.
template <class Context>
XFERPIPE_HOST_DEVICE inline void count_tile(Context& context, const float* shared, int64_t query,
                                            int queries, int64_t begin, int columns,
                                            const ThresholdLists& lists, int64_t* nearer) {
  const int64_t end = begin + columns;
  const int warp = context.thread() / 32, lane = context.thread() % 32;
  // A warp takes a query, a lane a threshold: all lanes read the same score at a time.
  for (int q = warp; q < queries; q += kThreads / 32) {
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

XFERPIPE_HOST_DEVICE inline int up_to_tile(int64_t left) {
  return static_cast<int>(left < kTile ? left : kTile);
}

// One block: 128 queries (block_x) against 128 gallery rows (block_y), counted and thrown away.
template <bool kSplit, class Context>
XFERPIPE_HOST_DEVICE inline void count_body(Context& context, const ScoreJob& job,
                                            const ThresholdLists& lists, int64_t first_row,
                                            int64_t* nearer, float* shared) {
  const int64_t query = context.block_x() * kTile, column = context.block_y() * kTile;
  score_tile<kSplit>(context, job, query, column, shared);
  count_tile(context, shared, query, up_to_tile(job.query.rows - query), first_row + column,
             up_to_tile(job.gallery.rows - column), lists, nearer);
}

// The same where distances (float32, `stride` to a row) are given: a score is minus the distance.
template <class Context>
XFERPIPE_HOST_DEVICE inline void count_dense_body(Context& context, const float* distances,
                                                  int64_t rows, int64_t columns, int64_t stride,
                                                  const ThresholdLists& lists, int64_t* nearer,
                                                  float* shared) {
  const int64_t query = context.block_x() * kTile, column = context.block_y() * kTile;
  for (int e = context.thread(); e < kTile * kTile; e += kThreads) {
    const int64_t q = query + e / kTile, c = column + e % kTile;
    if (q < rows && c < columns) {
      shared[e / kTile * kScoresPitch + e % kTile] = -distances[q * stride + c];
    }
  }
  context.sync();
  count_tile(context, shared, query, up_to_tile(rows - query), column, up_to_tile(columns - column),
             lists, nearer);
}

// Pairs of queries and gallery rows, as index lists.
struct PairLists {
  const int64_t* offsets;  // queries + 1
  const int64_t* index;
  int64_t queries, count;

  XFERPIPE_HOST_DEVICE int64_t query_of(int64_t pair) const {
    int64_t low = 0, high = queries;  // offsets[low] <= pair < offsets[high]
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      if (offsets[middle] <= pair) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }
};
constexpr int kPairQueries = 16;
constexpr int kPairFloats = kSlabFloats + kPairQueries * kSlab;

// One block: the scores of 128 consecutive pairs, with the bits they have inside a tile. Sixteen
// queries at a time are multiplied with all 128 rows and the products that pair up are kept.
template <class Context>
XFERPIPE_HOST_DEVICE inline void pair_body(Context& context, const ScoreJob& job,
                                           const PairLists& pairs, float* out, float* shared) {
  const int64_t first = context.block_x() * kTile;
  const int count = up_to_tile(pairs.count - first);
  const int thread = context.thread(), warp = thread / 32, lane = thread % 32;
  int64_t* owner = reinterpret_cast<int64_t*>(shared);
  float* a_slab = shared + 2 * kTile;
  float* b_slab = a_slab + kPairQueries * kSlab;
  if (thread < count) owner[thread] = pairs.query_of(first + thread);
  context.sync();
  const ChosenRows rows = {job.gallery.data, job.gallery.stride, pairs.index + first, count,
                           job.gallery.bfloat16};
  for (int done = 0; done < count;) {
    const int64_t query = owner[done];
    Fragments<1, 2> sum;
    sum.clear();
    for (int64_t k = 0; k < job.depth; k += kSlab) {
      float next[kPerThread];
      rows.load(thread, 0, k, job.depth, next);
      context.sync();  // the slabs before have been read
      store_slab<ChosenRows::kAlongDepth>(thread, next, b_slab);
      for (int e = thread; e < kPairQueries * kSlab; e += kThreads) {
        const int64_t row = query + e / kSlab, step = k + e % kSlab;
        const bool in = row < job.query.rows && step < job.depth;
        a_slab[slab_index(e / kSlab, e % kSlab)] = in ? job.query.at(row, step) : 0.0f;
      }
      context.sync();
      multiply_slab<true, true>(lane, a_slab, b_slab + warp * 16 * kSlab, sum);
    }
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const Place p = fragment_place(lane, 0, j, e);
        const int c = warp * 16 + p.column;
        if (c < count && owner[c] == query + p.row) {
          out[first + c] = job.score(sum.value[0][j][e], job.bias(rows.chosen[c]));
        }
      }
    }
    while (done < count && owner[done] < query + kPairQueries) ++done;
  }
}

// Squared norm of each row, a warp to a row.
template <class Context>
XFERPIPE_HOST_DEVICE inline void norms_body(Context& context, const RowsOf& rows, int64_t depth,
                                            double* norms, double* shared) {
  const int thread = context.thread(), lane = thread % 32;
  const int64_t row = context.block_x() * (kThreads / 32) + thread / 32;
  double sum = 0.0;
  for (int64_t k = lane; row < rows.rows && k < depth; k += 32) {
    const double value = rows.at(row, k);
    sum += value * value;
  }
  shared[thread] = sum;
  for (int half = 16; half > 0; half /= 2) {
    context.warp_sync();
    if (lane < half) shared[thread] += shared[thread + half];
  }
  if (lane == 0 && row < rows.rows) norms[row] = shared[thread];
}

}  // namespace xferpipe::cuda
