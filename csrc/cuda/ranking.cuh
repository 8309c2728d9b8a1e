// Bodies of the ranking kernels. They read scores that a library product made, a row per query, and
// never sort a gallery: see docs/kernels.md.
#pragma once
#include <cmath>

#include "order.cuh"
#include "rows.cuh"

namespace xferpipe::cuda {

// Scores of queries (rows) with a block of the gallery (columns): larger is nearer.
struct ScoreRows {
  const float* score;
  int64_t stride, rows, columns;

  XFERPIPE_HOST_DEVICE float at(int64_t row, int64_t column) const {
    return score[row * stride + column];
  }
};

// The pairs of each query: gallery rows whose place is asked for, and their scores, or null where all
// of them are columns of this block.
struct PairLists {
  const int64_t* offsets;  // queries + 1
  const int64_t* index;
  const float* score;
  int64_t count;
};

constexpr int kPairs = 1024;     // of a query, sorted at a time
constexpr int kCounters = 8192;  // a few copies of each pair's counter, so that lanes rarely meet
constexpr int kCountBytes = kPairs * 12 + kCounters * 4;

// Counts of copies become sums over all pairs before and at a pair.
template <class Context>
XFERPIPE_HOST_DEVICE inline void sum_counters(Context& context, int* counters, int count,
                                              int copies) {
  for (int j = context.thread(); j < count; j += kThreads) {
    int sum = 0;
    for (int copy = 0; copy < copies; ++copy) sum += counters[j * copies + copy];
    counters[j * copies] = sum;
  }
  context.sync();
  constexpr int kEach = kPairs / kThreads;
  for (int reach = 1; reach < count; reach *= 2) {
    int carried[kEach];
    for (int i = 0; i < kEach; ++i) {
      const int j = i * kThreads + context.thread();
      carried[i] = j < count && j >= reach ? counters[(j - reach) * copies] : 0;
    }
    context.sync();
    for (int i = 0; i < kEach; ++i) {
      const int j = i * kThreads + context.thread();
      if (j < count) counters[j * copies] += carried[i];
    }
    context.sync();
  }
}

// Four scores of a query, from a column that is a multiple of four; below any threshold where there is
// no column. `aligned`: rows start at multiples of 16 bytes.
XFERPIPE_HOST_DEVICE inline void load_scores(const ScoreRows& scores, int64_t query, int64_t column,
                                             int64_t end, bool aligned, float (&score)[4]) {
  if (aligned && column + 4 <= end) {
    const Sixteen four =
        *reinterpret_cast<const Sixteen*>(scores.score + query * scores.stride + column);
#pragma unroll
    for (int i = 0; i < 4; ++i) score[i] = float_of(four.word[i]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) score[i] = column + i < end ? scores.at(query, column + i) : -INFINITY;
}

// nearer (pairs) += columns that come before each pair. Block (x, y): query x, `columns_each` columns
// from y on. The pairs are sorted; a column is placed among them by bisection and counts for all
// that follow.
template <class Context>
XFERPIPE_HOST_DEVICE inline void count_body(Context& context, const ScoreRows& scores,
                                            const PairLists& pairs, int64_t first_row,
                                            int64_t columns_each, bool aligned, int64_t* nearer,
                                            float* shared) {
  const int64_t query = context.block_x(), begin = context.block_y() * columns_each;
  const int64_t end =
      begin + columns_each < scores.columns ? begin + columns_each : scores.columns;
  const int thread = context.thread();
  Key* keys = reinterpret_cast<Key*>(shared);
  // The same memory, once the keys are sorted: scores, then rows.
  float* threshold = shared;
  uint32_t* row = reinterpret_cast<uint32_t*>(shared + kPairs);
  int* place = reinterpret_cast<int*>(keys + kPairs);
  int* counters = place + kPairs;
  const int64_t first_pair = pairs.offsets[query], last_pair = pairs.offsets[query + 1];
  if (first_pair < 0 || last_pair > pairs.count) return;
  for (int64_t chunk = first_pair; chunk < last_pair; chunk += kPairs) {
    const int64_t left = last_pair - chunk;
    const int count = left < kPairs ? static_cast<int>(left) : kPairs;
    const int size = power_of_two_above(count);
    int copies = 32;
    while (count * copies > kCounters) copies /= 2;
    for (int j = thread; j < size; j += kThreads) {
      Key key = kLastKey;
      if (j < count) {
        // Rows of earlier blocks win every tie here, those of later ones none.
        int64_t own = pairs.index[chunk + j] - first_row;
        own = own < 0 ? 0 : own > scores.columns ? scores.columns : own;
        const int64_t column = own < scores.columns ? own : scores.columns - 1;
        const float score = pairs.score ? pairs.score[chunk + j] : scores.at(query, column);
        key = key_of(score, static_cast<uint32_t>(own));
      }
      keys[j] = key;
      place[j] = j;
    }
    for (int j = thread; j < count * copies; j += kThreads) counters[j] = 0;
    context.sync();
    sort_keys(context, keys, place, size);
    constexpr int kEach = kPairs / kThreads;
    Key sorted[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int j = i * kThreads + thread;
      sorted[i] = j < size ? keys[j] : kLastKey;
    }
    context.sync();
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int j = i * kThreads + thread;
      threshold[j] = j < count ? score_of(sorted[i]) : -INFINITY;
      row[j] = place_of(sorted[i]);
    }
    context.sync();
    const float last = threshold[count - 1];
    int* own = counters + thread % copies;
    for (int64_t first = begin + 4 * thread; first < end; first += 4 * kThreads) {
      float score[4];
      load_scores(scores, query, first, end, aligned, score);
      bool any = false;
#pragma unroll
      for (int i = 0; i < 4; ++i) any = any || score[i] >= last;
      if (!any) continue;
      int before[4] = {};  // pairs with a larger score
      for (int step = size / 2; step > 0; step /= 2) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (threshold[before[i] + step - 1] > score[i]) before[i] += step;
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (!(score[i] >= last)) continue;
        // A pair with the same score comes before a later column, and a column not before itself.
        while (before[i] < count && threshold[before[i]] == score[i] &&
               row[before[i]] <= static_cast<uint64_t>(first + i)) {
          ++before[i];
        }
        if (before[i] < count) context.add_shared(own + before[i] * copies, 1);
      }
    }
    context.sync();
    sum_counters(context, counters, count, copies);
    for (int j = thread; j < count; j += kThreads) {
      const int sum = counters[j * copies];
      if (sum) context.add(nearer + chunk + place[j], sum);
    }
    context.sync();  // the next pairs take the same memory
  }
}

constexpr int64_t kNoRow = INT64_MAX;
constexpr int kBestBytes = kHoldBytes + kThreads * 4;

// The k best columns of each query, best first: scores and rows (ranges, queries, k), filled up with
// -infinity and kNoRow, and the lowest score (ranges, queries). Block (x, y): query x, `columns_each`
// columns from y on.
template <class Context>
XFERPIPE_HOST_DEVICE inline void best_body(Context& context, const ScoreRows& scores, int k,
                                           int64_t first_row, int64_t columns_each, float* best,
                                           int64_t* rows, float* lowest, float* shared) {
  const int64_t query = context.block_x(), range = context.block_y();
  const int64_t begin = range * columns_each;
  const int64_t end =
      begin + columns_each < scores.columns ? begin + columns_each : scores.columns;
  const int thread = context.thread();
  Key worst = 0;
  const auto column = [&](int64_t at) {
    return key_of(scores.at(query, at), static_cast<uint32_t>(at));
  };
  const int found = hold_smallest(context, column, begin, end, k, shared, &worst);
  const Key* keys = reinterpret_cast<const Key*>(shared);
  const int64_t own = (range * scores.rows + query) * k;
  for (int i = thread; i < k; i += kThreads) {
    best[own + i] = i < found ? score_of(keys[i]) : -INFINITY;
    rows[own + i] = i < found ? first_row + place_of(keys[i]) : kNoRow;
  }
  uint32_t* last = reinterpret_cast<uint32_t*>(shared + kHoldBytes / 4);
  last[thread] = static_cast<uint32_t>(worst >> 32);
  for (int half = kThreads / 2; half > 0; half /= 2) {
    context.sync();
    if (thread < half && last[thread + half] > last[thread]) last[thread] = last[thread + half];
  }
  if (thread == 0) lowest[range * scores.rows + query] = score_of(static_cast<Key>(last[0]) << 32);
}

// wrong += offsets that do not start at 0, fall or do not end at the number of pairs, and rows outside
// 0 .. rows - 1 (any, where rows is negative). A thread looks at one of each.
template <class Context>
XFERPIPE_HOST_DEVICE inline void check_body(Context& context, const PairLists& pairs,
                                            int64_t queries, int64_t rows, int64_t* wrong) {
  const int64_t i = context.block_x() * kThreads + context.thread();
  if (i < queries && pairs.offsets[i] > pairs.offsets[i + 1]) context.add(wrong, 1);
  if (i == 0 && (pairs.offsets[0] != 0 || pairs.offsets[queries] != pairs.count)) context.add(wrong, 1);
  if (rows < 0 || i >= pairs.count) return;
  if (pairs.index[i] < 0 || pairs.index[i] >= rows) context.add(wrong, 1);
}

// What the summary gives of each query; see core/ranking.h.
struct Summary {
  double *average_precision, *inverse_negative_penalty;
  int64_t *first_hit, *hits, *junk;
};

// The metrics of each query, a block to a query: its pairs in the order of their ranks, up to
// kMostKept at a time.
template <class Context>
XFERPIPE_HOST_DEVICE inline void summary_body(Context& context, const int64_t* offsets,
                                              const int64_t* nearer, const uint8_t* junk,
                                              bool trapezoid, const Summary& out, float* shared) {
  const int64_t q = context.block_x(), begin = offsets[q], end = offsets[q + 1];
  const Key* keys = reinterpret_cast<const Key*>(shared);
  RankedHits ranked;  // of the first thread
  int64_t dropped = 0;
  Key after = 0;  // one more than the last key taken
  for (int64_t done = begin; done < end;) {
    Key worst = 0;
    const auto rank = [&](int64_t pair) {
      const Key key = static_cast<Key>(nearer[pair]) << 1 | (junk[pair] ? 1 : 0);
      return key >= after ? key : kLastKey;
    };
    const int found = hold_smallest(context, rank, begin, end, kMostKept, shared, &worst);
    if (found == 0) break;  // ranks that are no ranks
    for (int i = 0; context.thread() == 0 && i < found; ++i) {
      if (keys[i] & 1) {
        ++dropped;
      } else {
        ranked.add(static_cast<int64_t>(keys[i] >> 1) - dropped, trapezoid);
      }
    }
    after = keys[found - 1] + 1;
    done += found;
    context.sync();  // the keys have been read
  }
  if (context.thread() != 0) return;
  out.average_precision[q] = ranked.hits ? ranked.average_precision() : NAN;
  out.inverse_negative_penalty[q] = ranked.hits ? ranked.inverse_negative_penalty() : NAN;
  out.first_hit[q] = ranked.first;
  out.hits[q] = ranked.hits;
  out.junk[q] = dropped;
}

// Rows of one identity lie next to each other in `ordered` (rows). start (queries): where each query's
// begin; length (queries): how many there are. A thread to a query.
template <class Context>
XFERPIPE_HOST_DEVICE inline void bounds_body(Context& context, const int64_t* ordered, int64_t rows,
                                             const int64_t* identity, int64_t queries,
                                             int64_t* start, int64_t* length) {
  const int64_t q = context.block_x() * kThreads + context.thread();
  if (q >= queries) return;
  const auto below = [&](bool or_equal) {
    int64_t low = 0, high = rows;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (ordered[middle] < identity[q] || (or_equal && ordered[middle] == identity[q])) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  };
  start[q] = below(false);
  length[q] = below(true) - start[q];
}

// index and junk (pairs) of each query: its identity's rows in their order, junk where the cameras are
// known and agree. A warp to a query.
struct Cameras {
  const int64_t *query, *gallery;  // null where they are not known
};
template <class Context>
XFERPIPE_HOST_DEVICE inline void fill_body(Context& context, const int64_t* start,
                                           const int64_t* offsets, int64_t queries,
                                           const int64_t* order, const Cameras& cameras,
                                           int64_t* index, uint8_t* junk) {
  const int64_t q = context.block_x() * (kThreads / 32) + context.thread() / 32;
  if (q >= queries) return;
  for (int64_t p = offsets[q] + context.thread() % 32; p < offsets[q + 1]; p += 32) {
    const int64_t row = order[start[q] + p - offsets[q]];
    index[p] = row;
    junk[p] = cameras.query && cameras.query[q] == cameras.gallery[row];
  }
}

// Squared norm of each row, a warp to a row.
template <class Context>
XFERPIPE_HOST_DEVICE inline void norms_body(Context& context, const Rows& rows, double* norms,
                                            double* shared) {
  const int thread = context.thread(), lane = thread % 32;
  const int64_t row = context.block_x() * (kThreads / 32) + thread / 32;
  double sum = 0.0;
  if (row < rows.rows) {
#pragma unroll 8
    for (int64_t k = lane; k < rows.columns; k += 32) {
      const double value = rows.at(row, k);
      sum += value * value;
    }
  }
  shared[thread] = sum;
  for (int half = 16; half > 0; half /= 2) {
    context.warp_sync();
    if (lane < half) shared[thread] += shared[thread + half];
  }
  if (lane == 0 && row < rows.rows) norms[row] = shared[thread];
}

}  // namespace xferpipe::cuda
