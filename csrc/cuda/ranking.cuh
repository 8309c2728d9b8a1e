// Bodies of the ranking kernels. They read products that a library made, a row per query, and never
// sort a gallery: see docs/kernels.md.
#pragma once
#include "order.cuh"
#include "rows.cuh"

namespace xferpipe::cuda {

// How a score comes from a product: see `Scoring` in launch.h.
struct ScoreRows {
  const float* product;
  int64_t stride, rows, columns;
  const float* bias;
  Scoring scoring;

  XFERPIPE_HOST_DEVICE float at(int64_t row, int64_t column) const {
    const float value = product[row * stride + column];
    if (scoring == Scoring::kMinus) return -value;
    return scoring == Scoring::kTimes ? value * bias[column] : value + bias[column];
  }
  XFERPIPE_HOST_DEVICE Key key(int64_t row, int64_t column) const {
    return key_of(at(row, column), static_cast<uint32_t>(column));
  }
};

// The pairs of each query: gallery rows whose place is asked for, and their scores, or null where all
// of them are columns of this block.
struct PairLists {
  const int64_t* offsets;  // queries + 1
  const int64_t* index;
  const float* score;
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

// nearer (pairs) += columns that come before each pair. Block (x, y): query x, `columns_each` columns
// from y on. The pairs are sorted; a column is placed among them by bisection and counts for all
// that follow.
template <class Context>
XFERPIPE_HOST_DEVICE inline void count_body(Context& context, const ScoreRows& scores,
                                            const PairLists& pairs, int64_t first_row,
                                            int64_t columns_each, int64_t* nearer, float* shared) {
  const int64_t query = context.block_x(), begin = context.block_y() * columns_each;
  const int64_t end =
      begin + columns_each < scores.columns ? begin + columns_each : scores.columns;
  const int thread = context.thread();
  Key* keys = reinterpret_cast<Key*>(shared);
  int* place = reinterpret_cast<int*>(keys + kPairs);
  int* counters = place + kPairs;
  for (int64_t chunk = pairs.offsets[query]; chunk < pairs.offsets[query + 1]; chunk += kPairs) {
    const int64_t left = pairs.offsets[query + 1] - chunk;
    const int count = left < kPairs ? static_cast<int>(left) : kPairs;
    const int size = power_of_two_above(count);
    int copies = 32;
    while (count * copies > kCounters) copies /= 2;
    for (int j = thread; j < size; j += kThreads) {
      Key key = kLastKey;
      if (j < count) {
        // Rows of earlier blocks win every tie here, those of later ones none.
        int64_t row = pairs.index[chunk + j] - first_row;
        row = row < 0 ? 0 : row > scores.columns ? scores.columns : row;
        const float score = pairs.score ? pairs.score[chunk + j] : scores.at(query, row);
        key = key_of(score, static_cast<uint32_t>(row));
      }
      keys[j] = key;
      place[j] = j;
    }
    for (int j = thread; j < count * copies; j += kThreads) counters[j] = 0;
    context.sync();
    sort_keys(context, keys, place, size);
    const Key last = keys[count - 1];
    int* own = counters + thread % copies;
    constexpr int kAhead = 4;
    for (int64_t first = begin + thread; first < end; first += kAhead * kThreads) {
      Key key[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int64_t column = first + i * kThreads;
        key[i] = column < end ? scores.key(query, column) : kLastKey;
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (key[i] >= last) continue;
        int before = 0;
        for (int step = size / 2; step > 0; step /= 2) {
          if (keys[before + step - 1] <= key[i]) before += step;
        }
        context.add_shared(own + before * copies, 1);
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
constexpr int kHeld = 4096;                // candidates held at a time
constexpr int kTaken = 8 * kThreads;       // columns looked at between two looks at how many are held
constexpr int kLongestList = kHeld - kTaken;
constexpr int kBestBytes = kHeld * 8 + kThreads * 4 + 16;

// The k best columns of each query, best first: scores and rows (ranges, queries, k), filled up with
// -infinity and kNoRow. Block (x, y): query x, `columns_each` columns from y on. Columns that beat the
// k-th so far are held; when the memory for them is full they are sorted and the k best stay.
// `lowest` (ranges, queries), where asked for, is the lowest score.
template <class Context>
XFERPIPE_HOST_DEVICE inline void best_body(Context& context, const ScoreRows& scores, int k,
                                           int64_t first_row, int64_t columns_each,
                                           float* best, int64_t* rows, float* lowest,
                                           float* shared) {
  const int64_t query = context.block_x(), range = context.block_y();
  const int64_t begin = range * columns_each;
  const int64_t end =
      begin + columns_each < scores.columns ? begin + columns_each : scores.columns;
  const int thread = context.thread();
  Key* keys = reinterpret_cast<Key*>(shared);
  uint32_t* last = reinterpret_cast<uint32_t*>(keys + kHeld);
  int* held = reinterpret_cast<int*>(last + kThreads);
  Key limit = kLastKey, worst = 0;
  if (thread == 0) *held = 0;
  context.sync();
  for (int64_t first = begin; first < end; first += kTaken) {
    for (int i = 0; i < kTaken / kThreads; ++i) {
      const int64_t column = first + i * kThreads + thread;
      if (column >= end) break;
      const Key key = scores.key(query, column);
      worst = key > worst ? key : worst;
      if (key < limit) keys[context.add_shared(held, 1)] = key;
    }
    context.sync();
    const int count = *held;
    context.sync();
    if (count + kTaken <= kHeld && first + kTaken < end) continue;
    const int size = power_of_two_above(count > 1 ? count : 1);
    for (int i = count + thread; i < size; i += kThreads) keys[i] = kLastKey;
    context.sync();
    sort_keys(context, keys, nullptr, size);
    if (count >= k) limit = keys[k - 1];
    if (thread == 0) *held = count < k ? count : k;
    context.sync();
  }
  const int found = *held;
  const int64_t own = (range * scores.rows + query) * k;
  for (int i = thread; i < k; i += kThreads) {
    best[own + i] = i < found ? score_of(keys[i]) : -INFINITY;
    rows[own + i] = i < found ? first_row + place_of(keys[i]) : kNoRow;
  }
  if (!lowest) return;
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
                                            int64_t queries, int64_t count, int64_t rows,
                                            int64_t* wrong) {
  const int64_t i = context.block_x() * kThreads + context.thread();
  if (i < queries && pairs.offsets[i] > pairs.offsets[i + 1]) context.add(wrong, 1);
  if (i == 0 && (pairs.offsets[0] != 0 || pairs.offsets[queries] != count)) context.add(wrong, 1);
  if (rows < 0 || i >= count) return;
  if (pairs.index[i] < 0 || pairs.index[i] >= rows) context.add(wrong, 1);
}

// What the summary gives of each query; see core/ranking.h.
struct Summary {
  double *average_precision, *inverse_negative_penalty;
  int64_t *first_hit, *hits, *junk;
};

// The metrics of each query, a thread to a query, from its pairs in the order of their ranks.
template <class Context>
XFERPIPE_HOST_DEVICE inline void summary_body(Context& context, const int64_t* offsets,
                                              int64_t queries, const int64_t* nearer,
                                              const uint8_t* junk, bool trapezoid,
                                              const Summary& out) {
  const int64_t q = context.block_x() * kThreads + context.thread();
  if (q >= queries) return;
  RankedHits ranked;
  int64_t dropped = 0;
  for (int64_t p = offsets[q]; p < offsets[q + 1]; ++p) {
    if (junk[p]) {
      ++dropped;
    } else {
      ranked.add(nearer[p] - dropped, trapezoid);
    }
  }
  out.average_precision[q] = ranked.hits ? ranked.average_precision() : NAN;
  out.inverse_negative_penalty[q] = ranked.hits ? ranked.inverse_negative_penalty() : NAN;
  out.first_hit[q] = ranked.first;
  out.hits[q] = ranked.hits;
  out.junk[q] = dropped;
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
