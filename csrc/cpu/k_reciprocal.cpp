#include "k_reciprocal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../core/parallel.h"
#include "../core/workspace.h"
#include "score_tiles.h"
#include "top_entries.h"

namespace xferpipe {
namespace {

constexpr int64_t kPackedFloats = 16 << 20;  // rows packed at once: bounds the memory
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Items {
  const Matrix &query, &gallery;
  int64_t count() const { return query.rows + gallery.rows; }
  const char* row(int64_t i) const {
    return i < query.rows ? query.row(i) : gallery.row(i - query.rows);
  }
};

void pack_items(const Items& items, int64_t first, int64_t count, int64_t width, float* out) {
  const char* pointers[64];
  const int64_t d = items.query.columns;
  for (int64_t at = 0; at < count; at += width) {
    const int64_t here = std::min(width, count - at);
    for (int64_t r = 0; r < here; ++r) pointers[r] = items.row(first + at + r);
    kernels().pack_rows(pointers, nullptr, here, d, width, items.query.bfloat16, out + at * d);
  }
}

// What one worker has seen of every row.
struct Seen {
  std::vector<Entry> heaps;
  std::vector<float> lowest;
};

// Scores of columns [first, first + count) for one row.
void update(Seen& seen, int64_t item, int64_t k, const float* scores, int64_t first, int64_t count) {
  Entry* heap = seen.heaps.data() + item * k;
  int32_t found[kTileColumns + 16];
  // ">=" the worst kept: columns come in any order, so an equal score may still win by its number.
  const float limit = std::nextafter(heap[0].score, -kInfinity);
  const int64_t n = kernels().select_above(scores, count, limit, found);
  for (int64_t f = 0; f < n; ++f) offer(heap, k, {scores[found[f]], first + found[f]});
  // Eight minima side by side: one alone would wait for itself at every step.
  float low[8];
  std::fill_n(low, 8, seen.lowest[item]);
  int64_t j = 0;
  for (; j + 8 <= count; j += 8) {
    for (int l = 0; l < 8; ++l) low[l] = scores[j + l] < low[l] ? scores[j + l] : low[l];
  }
  for (; j < count; ++j) low[0] = std::min(low[0], scores[j]);
  seen.lowest[item] = *std::min_element(low, low + 8);
}

}  // namespace

void k_reciprocal_neighbours(const Matrix& query, const Matrix& gallery, const double* norms,
                             int64_t k, float* scores, int64_t* index, float* lowest,
                             float* kept) {
  const Items items = {query, gallery};
  const Kernels& kern = kernels();
  const int64_t n = items.count(), d = query.columns;
  const int64_t tile_rows = 16 * kern.row_panel;
  std::vector<float> bias(n);
  for (int64_t i = 0; i < n; ++i) bias[i] = static_cast<float>(-0.5 * norms[i]);
  std::vector<Seen> seen(std::max<int64_t>(1, thread_pool().threads()));

  const int64_t chunk =
      std::max<int64_t>(1, kPackedFloats / std::max<int64_t>(1, d) / tile_rows) * tile_rows;
  for (int64_t chunk_first = 0; chunk_first < n; chunk_first += chunk) {
    const int64_t chunk_rows = std::min(chunk, n - chunk_first);
    const int64_t row_tiles = (chunk_rows + tile_rows - 1) / tile_rows;
    float* left =
        workspace().get<float>(Scratch::kLeft, round_up(chunk_rows, kern.row_panel) * d);
    parallel_items(row_tiles, [&](int64_t, int64_t r) {
      const int64_t at = r * tile_rows;
      pack_items(items, chunk_first + at, std::min(tile_rows, chunk_rows - at), kern.row_panel,
                 left + at * d);
    });
    const int64_t first_block = chunk_first / kTileColumns;
    const int64_t blocks = (n + kTileColumns - 1) / kTileColumns - first_block;
    parallel_items(blocks, [&](int64_t worker, int64_t b) {
      Seen& own = seen[worker];
      if (own.heaps.empty()) {
        own.heaps.assign(n * k, kNothing);
        own.lowest.assign(n, kInfinity);
      }
      const int64_t column = (first_block + b) * kTileColumns;
      const int64_t columns = std::min(kTileColumns, n - column);
      const int64_t padded = round_up(columns, kern.column_panel);
      Workspace& scratch = workspace();
      float* right = scratch.get<float>(Scratch::kRight, padded * d);
      float* tile = scratch.get<float>(Scratch::kTile, tile_rows * kTileColumns);
      float* line = scratch.get<float>(Scratch::kRow, kTileColumns + tile_rows + 32);
      float* across = scratch.get<float>(Scratch::kSums, kTileColumns * tile_rows);  // transposed
      const char* lines[256];
      pack_items(items, column, columns, kern.column_panel, right);
      for (int64_t r = 0; r < row_tiles; ++r) {
        const int64_t row = chunk_first + r * tile_rows;
        if (row >= column + columns) break;  // below the diagonal: done from the other side
        const int64_t rows = std::min(tile_rows, chunk_first + chunk_rows - row);
        std::fill_n(tile, round_up(rows, kern.row_panel) * kTileColumns, 0.0f);
        for (int64_t at = 0; at < d; at += kDepthBlock) {
          kern.multiply(std::min(kDepthBlock, d - at), rows,
                        left + (row - chunk_first) * d + at * kern.row_panel, d * kern.row_panel,
                        padded / kern.column_panel, right + at * kern.column_panel,
                        d * kern.column_panel, nullptr, tile, kTileColumns, true, row - column);
        }
        for (int64_t i = 0; i < rows; ++i) {
          lines[i] = reinterpret_cast<const char*>(tile + i * kTileColumns);
        }
        kern.pack_rows(lines, nullptr, rows, columns, tile_rows, false, across);
        for (int64_t i = 0; i < rows; ++i) {
          const int64_t from = std::max<int64_t>(0, row + i - column);  // itself and what follows
          if (from >= columns) continue;
          for (int64_t j = from; j < columns; ++j) {
            line[j - from] = tile[i * kTileColumns + j] + bias[column + j];
          }
          update(own, row + i, k, line, column + from, columns - from);
          const int64_t gallery_from = std::max(from, query.rows - column);
          if (kept && row + i < query.rows && gallery_from < columns) {
            std::copy(line + gallery_from - from, line + columns - from,
                      kept + (row + i) * gallery.rows + column + gallery_from - query.rows);
          }
        }
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t to = std::min(rows, column + j - row);  // only what comes before it
          if (to <= 0) continue;
          for (int64_t i = 0; i < to; ++i) line[i] = across[j * tile_rows + i] + bias[row + i];
          update(own, column + j, k, line, row, to);
        }
      }
    });
  }
  parallel_items((n + 63) / 64, [&](int64_t, int64_t item) {
    std::vector<Entry> all;
    for (int64_t i = item * 64; i < std::min(n, (item + 1) * 64); ++i) {
      all.clear();
      lowest[i] = kInfinity;
      for (const Seen& s : seen) {
        if (s.heaps.empty()) continue;
        all.insert(all.end(), s.heaps.begin() + i * k, s.heaps.begin() + (i + 1) * k);
        lowest[i] = std::min(lowest[i], s.lowest[i]);
      }
      std::partial_sort(all.begin(), all.begin() + k, all.end(), nearer);
      for (int64_t t = 0; t < k; ++t) {
        scores[i * k + t] = all[t].score;
        index[i * k + t] = all[t].row;
      }
    }
  });
}

namespace {

using Row = std::vector<std::pair<int32_t, float>>;  // item and weight, by item

// The lists of neighbours in half the width, and what follows from them.
struct Neighbours {
  std::vector<int32_t> index;  // N x width
  int64_t width;

  Neighbours(const int64_t* from, int64_t items, int64_t width)
      : index(from, from + items * width), width(width) {}

  const int32_t* row(int64_t item) const { return index.data() + item * width; }
  bool has(int64_t item, int64_t depth, int32_t wanted) const {
    const int32_t* list = row(item);
    int32_t found = 0;
    for (int64_t t = 0; t < depth; ++t) found |= list[t] == wanted;  // no early end: as vectors
    return found != 0;
  }
  // Items among the `depth` nearest of `item` that have `item` among theirs; returns how many.
  int64_t reciprocal(int64_t item, int64_t depth, int32_t* out) const {
    int64_t count = 0;
    for (int64_t t = 0; t < depth; ++t) {
      const int32_t other = row(item)[t];
      if (has(other, depth, static_cast<int32_t>(item))) out[count++] = other;
    }
    return count;
  }
};

}  // namespace

SparseRows k_reciprocal_rows(const Matrix& query, const Matrix& gallery, const double* norms,
                             const float* scores, const int64_t* index, const float* lowest,
                             int64_t k1, int64_t k2) {
  const Items items = {query, gallery};
  const int64_t n = items.count(), width = k1 + 1;  // n < 2^31, checked by the caller
  const Neighbours near(index, n, width);
  // Half of k1 rounded to even, as Python's round does in the authors' code.
  const int64_t half = static_cast<int64_t>(std::nearbyint(static_cast<double>(k1) / 2.0)) + 1;
  // The smaller sets are asked for once per item that holds them, so they are made first.
  std::vector<int32_t> halves(n * half), half_count(n);
  parallel_items((n + 127) / 128, [&](int64_t, int64_t block) {
    for (int64_t i = block * 128; i < std::min(n, (block + 1) * 128); ++i) {
      half_count[i] = static_cast<int32_t>(near.reciprocal(i, half, halves.data() + i * half));
    }
  });
  std::vector<Row> weights(n), expanded(n);
  parallel_items((n + 31) / 32, [&](int64_t, int64_t block) {
    std::vector<int32_t> own(width), members;
    for (int64_t i = block * 32; i < std::min(n, (block + 1) * 32); ++i) {
      const int64_t count = near.reciprocal(i, width, own.data());
      members.assign(own.begin(), own.begin() + count);
      for (int64_t c = 0; c < count; ++c) {
        const int32_t* theirs = halves.data() + own[c] * half;
        const int32_t* end = theirs + half_count[own[c]];
        int64_t shared = 0;
        for (const int32_t* t = theirs; t < end; ++t) {
          int32_t found = 0;
          for (int64_t o = 0; o < count; ++o) found |= own[o] == *t;
          shared += found;
        }
        if (3 * shared > 2 * (end - theirs)) members.insert(members.end(), theirs, end);
      }
      std::sort(members.begin(), members.end());
      members.erase(std::unique(members.begin(), members.end()), members.end());
      const double farthest = std::max(0.0, norms[i] - 2.0 * static_cast<double>(lowest[i]));
      double total = 0.0;
      Row& row = weights[i];
      row.reserve(members.size());
      for (int32_t m : members) {
        const int32_t* list = near.row(i);
        const int64_t at = std::find(list, list + width, m) - list;
        const double score =
            at < width ? static_cast<double>(scores[i * width + at])
                       : kernels().dot(items.row(i), items.row(m), query.columns, query.bfloat16) -
                             0.5 * norms[m];
        const double distance = std::max(0.0, norms[i] - 2.0 * score);
        const double weight = std::exp(farthest > 0.0 ? -distance / farthest : 0.0);
        row.push_back({m, static_cast<float>(weight)});
        total += weight;
      }
      for (auto& entry : row) entry.second = static_cast<float>(entry.second / total);
    }
  });
  // Each item's weights become the mean over its k2 nearest.
  parallel_items((n + 31) / 32, [&](int64_t, int64_t block) {
    Row all;
    for (int64_t i = block * 32; i < std::min(n, (block + 1) * 32); ++i) {
      all.clear();
      for (int64_t t = 0; t < k2; ++t) {
        const Row& other = weights[index[i * width + t]];
        all.insert(all.end(), other.begin(), other.end());
      }
      std::stable_sort(all.begin(), all.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
      for (size_t at = 0; at < all.size();) {
        const int32_t item = all[at].first;
        double sum = 0.0;
        for (; at < all.size() && all[at].first == item; ++at) sum += all[at].second;
        expanded[i].push_back({item, static_cast<float>(sum / static_cast<double>(k2))});
      }
    }
  });
  // Gallery items by the neighbour they hold.
  std::vector<Row> holders(n);
  for (int64_t g = query.rows; g < n; ++g) {
    for (const auto& entry : expanded[g]) {
      holders[entry.first].push_back({static_cast<int32_t>(g - query.rows), entry.second});
    }
  }
  std::vector<Row> rows(query.rows);
  parallel_items((query.rows + 7) / 8, [&](int64_t, int64_t block) {
    std::vector<double> overlap(gallery.rows, 0.0);
    std::vector<int32_t> touched;
    for (int64_t i = block * 8; i < std::min(query.rows, (block + 1) * 8); ++i) {
      touched.clear();
      for (const auto& entry : expanded[i]) {
        for (const auto& holder : holders[entry.first]) {
          if (overlap[holder.first] == 0.0) touched.push_back(holder.first);
          overlap[holder.first] += std::min(entry.second, holder.second);
        }
      }
      std::sort(touched.begin(), touched.end());
      for (int32_t g : touched) {
        rows[i].push_back({g, static_cast<float>(1.0 - overlap[g] / (2.0 - overlap[g]))});
        overlap[g] = 0.0;
      }
    }
  });
  SparseRows out;
  out.offsets.push_back(0);
  for (const Row& row : rows) {
    for (const auto& entry : row) {
      out.index.push_back(entry.first);
      out.values.push_back(entry.second);
    }
    out.offsets.push_back(static_cast<int64_t>(out.index.size()));
  }
  return out;
}

}  // namespace xferpipe
