#include "rank_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "../core/parallel.h"
#include "../core/ranking.h"
#include "../core/workspace.h"
#include "score_tiles.h"

namespace xferpipe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Each query's thresholds in ranking order, padded to whole vectors.
struct Thresholds {
  std::vector<int64_t> at;     // queries + 1: where the query's thresholds start
  std::vector<int64_t> count;  // how many are real
  std::vector<float> value;    // the score
  std::vector<float> below;    // the next smaller float: "score > below" is "score >= value"
  std::vector<int64_t> row;    // row of the gallery
  std::vector<int64_t> pair;   // position in the caller's list

  Thresholds(const Pairs& pairs, const float* scores, int64_t first, int64_t queries) {
    at.resize(queries + 1, 0);
    count.resize(queries);
    for (int64_t i = 0; i < queries; ++i) {
      count[i] = pairs.offsets[first + i + 1] - pairs.offsets[first + i];
      at[i + 1] = at[i] + round_up(count[i], 16);
    }
    value.assign(at[queries], kInfinity);
    below.assign(at[queries], kInfinity);
    row.assign(at[queries], -1);
    pair.assign(at[queries], -1);
    const int64_t origin = pairs.offsets[first];
    constexpr int64_t kQueries = 64;
    parallel_items((queries + kQueries - 1) / kQueries, [&](int64_t, int64_t item) {
      const int64_t end = std::min(queries, (item + 1) * kQueries);
      for (int64_t i = item * kQueries; i < end; ++i) {
        int64_t* own = pair.data() + at[i];
        std::iota(own, own + count[i], pairs.offsets[first + i]);
        std::sort(own, own + count[i], [&](int64_t a, int64_t b) {
          const float sa = scores[a - origin], sb = scores[b - origin];
          return sa != sb ? sa > sb : pairs.index[a] < pairs.index[b];
        });
        for (int64_t t = 0; t < count[i]; ++t) {
          value[at[i] + t] = scores[own[t] - origin];
          below[at[i] + t] = std::nextafter(scores[own[t] - origin], -kInfinity);
          row[at[i] + t] = pairs.index[own[t]];
        }
      }
    });
  }
};

// Counts, for query i, the scores of columns [first, first + columns) that come before each pair.
// Ties go to the smaller row: a pair whose row lies after these columns loses ties to all of them
// (compare with >=), one that lies before wins them (>), and one inside is settled by a short scan.
void count_row(const Thresholds& t, int64_t i, const float* scores, int64_t first, int64_t columns,
               int32_t* counts, float* limits, float* buffer) {
  const int64_t n = t.count[i], at = t.at[i];
  if (n == 0) return;
  const int64_t end = first + columns;
  for (int64_t j = 0; j < round_up(n, 16); ++j) {
    limits[j] = t.row[at + j] >= end ? t.below[at + j] : t.value[at + j];
  }
  kernels().count_above(scores, columns, limits, n, counts + at, buffer);
  for (int64_t j = 0; j < n; ++j) {
    const int64_t row = t.row[at + j];
    if (row < first || row >= end) continue;
    const float value = t.value[at + j];
    int32_t ties = 0;
    for (int64_t c = 0; c < row - first; ++c) ties += scores[c] == value;
    if (ties == 0) continue;
    counts[at + j] += ties;
    // In the marked form a mark also counts for every later pair: take it back there.
    if (n > kMarkedAbove && j + 1 < n) counts[at + j + 1] -= ties;
  }
}

void add_counts(const Thresholds& t, const std::vector<std::vector<int32_t>>& counts,
                int64_t queries, int64_t first_pair, int64_t* nearer) {
  for (int64_t i = 0; i < queries; ++i) {
    int64_t running = 0;
    for (int64_t j = 0; j < t.count[i]; ++j) {
      int64_t sum = 0;
      for (const auto& c : counts) {
        if (!c.empty()) sum += c[t.at[i] + j];
      }
      running = t.count[i] > kMarkedAbove ? running + sum : sum;
      nearer[t.pair[t.at[i] + j] - first_pair] += running;
    }
  }
}

}  // namespace

void rank_metrics_scores(const Matrix& query, const Matrix& gallery, const double* gallery_norms,
                         const Pairs& pairs, Distance distance, float* scores) {
  // Queries of one identity share their list: they are packed together, so that the small pass
  // fills the register tile and gathers each gallery row once per identity.
  std::vector<int64_t> order(pairs.queries);
  std::iota(order.begin(), order.end(), 0);
  const auto list = [&](int64_t i) { return pairs.index + pairs.offsets[i]; };
  const auto length = [&](int64_t i) { return pairs.offsets[i + 1] - pairs.offsets[i]; };
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    if (length(a) != length(b)) return length(a) < length(b);
    const auto differ = std::mismatch(list(a), list(a) + length(a), list(b));
    return differ.first != list(a) + length(a) ? *differ.first < *differ.second : a < b;
  });
  struct Group {
    int64_t begin, end;
  };
  std::vector<Group> groups;
  const ScoreTiles tiles(query, gallery, gallery_norms, distance);
  for (int64_t at = 0; at < pairs.queries;) {
    int64_t end = at + 1;
    while (end < pairs.queries && end - at < tiles.tile_rows() &&
           length(order[end]) == length(order[at]) &&
           std::equal(list(order[at]), list(order[at]) + length(order[at]), list(order[end]))) {
      ++end;
    }
    if (length(order[at]) > 0) groups.push_back({at, end});
    at = end;
  }
  parallel_items(static_cast<int64_t>(groups.size()), [&](int64_t, int64_t item) {
    const Group group = groups[item];
    const int64_t* queries = order.data() + group.begin;
    const int64_t rows = group.end - group.begin;
    Workspace& own = workspace();
    float* left = own.get<float>(Scratch::kLeft, tiles.left_size(rows));
    float* right = own.get<float>(Scratch::kRight, tiles.right_size(kTileColumns));
    float* tile = own.get<float>(Scratch::kTile, tiles.padded_rows(rows) * kTileColumns);
    float bias[kTileColumns];
    tiles.pack_query(queries, 0, rows, left);
    const int64_t total = length(queries[0]);
    for (int64_t at = 0; at < total; at += kTileColumns) {
      const int64_t columns = std::min(kTileColumns, total - at);
      tiles.pack_gallery(list(queries[0]) + at, 0, columns, right, bias);
      tiles.multiply(left, rows, right, columns, bias, tile, kTileColumns);
      for (int64_t i = 0; i < rows; ++i) {
        std::copy(tile + i * kTileColumns, tile + i * kTileColumns + columns,
                  scores + pairs.offsets[queries[i]] + at);
      }
    }
  });
}

void rank_metrics_counts(const Matrix& query, const Matrix& gallery, const double* gallery_norms,
                         const Pairs& pairs, const float* scores, Distance distance,
                         int64_t first_row, int64_t* nearer) {
  if (pairs.count() == 0 || gallery.rows == 0) return;
  const ScoreTiles tiles(query, gallery, gallery_norms, distance);
  const Thresholds thresholds(pairs, scores, 0, pairs.queries);
  const int64_t blocks = (gallery.rows + kTileColumns - 1) / kTileColumns;

  // The query is packed once, in panels that every worker reads.
  float* left = workspace().get<float>(Scratch::kLeft, tiles.left_size(query.rows));
  const int64_t tile_rows = tiles.tile_rows();
  const int64_t row_tiles = (query.rows + tile_rows - 1) / tile_rows;
  parallel_items(row_tiles, [&](int64_t, int64_t item) {
    const int64_t first = item * tile_rows;
    tiles.pack_query(nullptr, first, std::min(tile_rows, query.rows - first),
                     left + first * tiles.packed_depth());
  });

  int64_t longest = 0;
  for (int64_t n : thresholds.count) longest = std::max(longest, n);
  std::vector<std::vector<int32_t>> counts(std::max<int64_t>(1, thread_pool().threads()));
  parallel_items(blocks, [&](int64_t worker, int64_t item) {
    auto& own_counts = counts[worker];
    if (own_counts.empty()) own_counts.assign(thresholds.value.size(), 0);
    Workspace& own = workspace();
    float* right = own.get<float>(Scratch::kRight, tiles.right_size(kTileColumns));
    float* tile = own.get<float>(Scratch::kTile, tile_rows * kTileColumns);
    float* limits = own.get<float>(Scratch::kRow, round_up(longest, 16) + kTileColumns + 32);
    float* buffer = limits + round_up(longest, 16);
    float bias[kTileColumns];
    const int64_t first = item * kTileColumns;
    const int64_t columns = std::min(kTileColumns, gallery.rows - first);
    tiles.pack_gallery(nullptr, first, columns, right, bias);
    for (int64_t r = 0; r < row_tiles; ++r) {
      const int64_t first_query = r * tile_rows;
      const int64_t rows = std::min(tile_rows, query.rows - first_query);
      tiles.multiply(left + first_query * tiles.packed_depth(), rows, right, columns, bias, tile,
                     kTileColumns);
      for (int64_t i = 0; i < rows; ++i) {
        count_row(thresholds, first_query + i, tile + i * kTileColumns, first_row + first, columns,
                  own_counts.data(), limits, buffer);
      }
    }
  });
  add_counts(thresholds, counts, pairs.queries, 0, nearer);
}

void rank_metrics_dense(const float* distances, int64_t rows, int64_t columns, int64_t stride,
                        const Pairs& pairs, int64_t first_query, int64_t* nearer) {
  const int64_t first_pair = pairs.offsets[first_query];
  const int64_t pair_count = pairs.offsets[first_query + rows] - first_pair;
  std::vector<float> scores(pair_count);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t from = pairs.offsets[first_query + i], to = pairs.offsets[first_query + i + 1];
    for (int64_t p = from; p < to; ++p) {
      scores[p - first_pair] = -distances[i * stride + pairs.index[p]];
    }
  }
  const Thresholds thresholds(pairs, scores.data(), first_query, rows);
  int64_t longest = 0;
  for (int64_t n : thresholds.count) longest = std::max(longest, n);
  std::vector<std::vector<int32_t>> counts(1);
  counts[0].assign(thresholds.value.size(), 0);
  parallel_items(rows, [&](int64_t, int64_t i) {
    float* limits = workspace().get<float>(Scratch::kRow,
                                           round_up(longest, 16) + 2 * kTileColumns + 32);
    float* buffer = limits + round_up(longest, 16);
    float* negated = buffer + kTileColumns + 16;
    for (int64_t first = 0; first < columns; first += kTileColumns) {
      const int64_t here = std::min(kTileColumns, columns - first);
      for (int64_t j = 0; j < here; ++j) negated[j] = -distances[i * stride + first + j];
      count_row(thresholds, i, negated, first, here, counts[0].data(), limits, buffer);
    }
  });
  add_counts(thresholds, counts, rows, first_pair, nearer);
}

void rank_metrics_summary(const Pairs& pairs, const int64_t* nearer, const uint8_t* junk,
                          AveragePrecision kind, double* ap, double* inp, int64_t* first_hit,
                          int64_t* positives, int64_t* junk_count) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  std::vector<int64_t> order;
  for (int64_t i = 0; i < pairs.queries; ++i) {
    const int64_t from = pairs.offsets[i], to = pairs.offsets[i + 1];
    order.resize(to - from);
    std::iota(order.begin(), order.end(), from);
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return nearer[a] < nearer[b]; });
    RankedHits hits;
    int64_t junk_before = 0;
    for (int64_t p : order) {
      if (junk[p]) {
        ++junk_before;
      } else {
        hits.add(nearer[p] - junk_before, kind == AveragePrecision::kTrapezoid);
      }
    }
    ap[i] = hits.hits ? hits.average_precision() : kNaN;
    inp[i] = hits.hits ? hits.inverse_negative_penalty() : kNaN;
    first_hit[i] = hits.first;
    positives[i] = hits.hits;
    junk_count[i] = junk_before;
  }
}

}  // namespace xferpipe
