// Tiles of query-against-gallery scores, shared by rank_metrics, nearest and k_reciprocal.
//
// A score is larger the nearer the item: q.g - |g|^2/2 for Euclidean distance, q.g/|g| for cosine.
// Its value depends on the query row and the gallery row alone (the features in order, in sums of
// kDepthBlock, the norm last), so a score computed for a single pair equals, bit for bit, the one that
// appears inside a tile.
#pragma once
#include <cstdint>
#include <vector>

#include "../core/matrix.h"
#include "hot/kernels.h"

namespace xferpipe {

// Values per step of the register tile that keep one left and one right block in the second-level
// cache together with the tile of scores.
constexpr int64_t kDepthBlock = 512;
constexpr int64_t kTileColumns = 256;

int64_t round_up(int64_t value, int64_t multiple);

class ScoreTiles {
 public:
  // `gallery_norms`: squared norms of the gallery's rows, float64, one per row.
  ScoreTiles(const Matrix& query, const Matrix& gallery, const double* gallery_norms,
             Distance distance);

  int64_t tile_rows() const { return tile_rows_; }
  int64_t packed_depth() const { return packed_depth_; }

  // `rows` lists row numbers of the matrix (null: first, first + 1, ...).
  void pack_query(const int64_t* rows, int64_t first, int64_t count, float* out) const;
  // `bias` receives what each score ends with, one per packed column.
  void pack_gallery(const int64_t* rows, int64_t first, int64_t count, float* out,
                    float* bias) const;
  // scores[i][j] for packed operands; `scores_stride` >= columns rounded up to a panel, and there
  // is room for the rows rounded up to a panel.
  void multiply(const float* left, int64_t rows, const float* right, int64_t columns,
                const float* bias, float* scores, int64_t scores_stride) const;

  int64_t left_size(int64_t rows) const { return round_up(rows, k_.row_panel) * packed_depth_; }
  int64_t right_size(int64_t columns) const {
    return round_up(columns, k_.column_panel) * packed_depth_;
  }
  int64_t padded_rows(int64_t rows) const { return round_up(rows, k_.row_panel); }
  int64_t padded_columns(int64_t columns) const { return round_up(columns, k_.column_panel); }

 private:
  void pack(const Matrix& from, const int64_t* rows, int64_t first, int64_t count,
            const float* scales, int64_t width, float* out) const;

  const Kernels& k_;
  Matrix query_, gallery_;
  const double* gallery_norms_;
  Distance distance_;
  bool pairs_;
  int64_t packed_depth_;
  int64_t tile_rows_;
};

// Squared norms, float64. Not finite exactly where a row holds NaN or infinity.
void squared_norms(const Matrix& matrix, double* out);

}  // namespace xferpipe
