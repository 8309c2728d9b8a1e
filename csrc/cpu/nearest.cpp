#include "nearest.h"

#include <algorithm>
#include <vector>

#include "../core/parallel.h"
#include "../core/workspace.h"
#include "score_tiles.h"
#include "top_entries.h"

namespace xferpipe {
void nearest_scores(const Matrix& query, const Matrix& gallery, const double* gallery_norms,
                    int64_t k, Distance distance, int64_t first_row, float* scores, int64_t* index) {
  const ScoreTiles tiles(query, gallery, gallery_norms, distance);
  const int64_t tile_rows = tiles.tile_rows();
  const int64_t row_tiles = (query.rows + tile_rows - 1) / tile_rows;
  float* left = workspace().get<float>(Scratch::kLeft, tiles.left_size(query.rows));
  parallel_items(row_tiles, [&](int64_t, int64_t item) {
    const int64_t first = item * tile_rows;
    tiles.pack_query(nullptr, first, std::min(tile_rows, query.rows - first),
                     left + first * tiles.packed_depth());
  });
  // One heap per worker and query: which worker saw a row does not change the best k.
  const int64_t blocks = (gallery.rows + kTileColumns - 1) / kTileColumns;
  std::vector<std::vector<Entry>> heaps(std::max<int64_t>(1, thread_pool().threads()));
  parallel_items(blocks, [&](int64_t worker, int64_t item) {
    auto& heap = heaps[worker];
    if (heap.empty()) heap.assign(query.rows * k, kNothing);
    Workspace& own = workspace();
    float* right = own.get<float>(Scratch::kRight, tiles.right_size(kTileColumns));
    float* tile = own.get<float>(Scratch::kTile, tile_rows * kTileColumns);
    float bias[kTileColumns];
    int32_t found[kTileColumns + 16];
    const int64_t first = item * kTileColumns;
    const int64_t columns = std::min(kTileColumns, gallery.rows - first);
    tiles.pack_gallery(nullptr, first, columns, right, bias);
    for (int64_t r = 0; r < row_tiles; ++r) {
      const int64_t first_query = r * tile_rows;
      const int64_t rows = std::min(tile_rows, query.rows - first_query);
      tiles.multiply(left + first_query * tiles.packed_depth(), rows, right, columns, bias, tile,
                     kTileColumns);
      for (int64_t i = 0; i < rows; ++i) {
        Entry* own_heap = heap.data() + (first_query + i) * k;
        const float* row = tile + i * kTileColumns;
        // Items are handed out in ascending order, so a later row never wins a tie: ">" is enough.
        const int64_t n = kernels().select_above(row, columns, own_heap[0].score, found);
        for (int64_t f = 0; f < n; ++f) {
          offer(own_heap, k, {row[found[f]], first_row + first + found[f]});
        }
      }
    }
  });
  constexpr int64_t kQueries = 64;
  parallel_items((query.rows + kQueries - 1) / kQueries, [&](int64_t, int64_t item) {
    std::vector<Entry> all;
    for (int64_t i = item * kQueries; i < std::min(query.rows, (item + 1) * kQueries); ++i) {
      all.clear();
      for (const auto& heap : heaps) {
        if (!heap.empty()) all.insert(all.end(), heap.begin() + i * k, heap.begin() + (i + 1) * k);
      }
      std::partial_sort(all.begin(), all.begin() + std::min<int64_t>(k, all.size()), all.end(),
                        nearer);
      for (int64_t t = 0; t < k; ++t) {
        scores[i * k + t] = all[t].score;
        index[i * k + t] = all[t].row;
      }
    }
  });
}

}  // namespace xferpipe
