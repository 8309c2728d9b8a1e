#include "score_tiles.h"

#include <algorithm>
#include <cmath>

#include "../core/parallel.h"

namespace xferpipe {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

ScoreTiles::ScoreTiles(const Matrix& query, const Matrix& gallery, const double* gallery_norms,
                       Distance distance)
    : k_(kernels()),
      query_(query),
      gallery_(gallery),
      gallery_norms_(gallery_norms),
      distance_(distance) {
  // Rows scaled to unit length no longer fit bfloat16, so cosine widens them to float32.
  pairs_ = query.bfloat16 && gallery.bfloat16 && k_.multiply_pairs && distance != Distance::kCosine;
  packed_depth_ = pairs_ ? (query.columns + 1) / 2 : query.columns;
  tile_rows_ = 16 * k_.row_panel;
}

void ScoreTiles::pack(const Matrix& from, const int64_t* rows, int64_t first, int64_t count,
                      const float* scales, int64_t width, float* out) const {
  const char* pointers[64];
  float part_scales[64];
  for (int64_t at = 0; at < count; at += width) {
    const int64_t here = std::min(width, count - at);
    for (int64_t r = 0; r < here; ++r) {
      pointers[r] = from.row(rows ? rows[at + r] : first + at + r);
      if (scales) part_scales[r] = scales[at + r];
    }
    float* panel = out + at * packed_depth_;
    if (pairs_) {
      k_.pack_pairs(pointers, here, from.columns, width, panel);
    } else {
      k_.pack_rows(pointers, scales ? part_scales : nullptr, here, from.columns, width,
                   from.bfloat16, panel);
    }
  }
}

void ScoreTiles::pack_query(const int64_t* rows, int64_t first, int64_t count, float* out) const {
  pack(query_, rows, first, count, nullptr, k_.row_panel, out);
}

void ScoreTiles::pack_gallery(const int64_t* rows, int64_t first, int64_t count, float* out,
                              float* bias) const {
  const bool cosine = distance_ == Distance::kCosine;
  for (int64_t at = 0; at < count; at += kTileColumns) {
    const int64_t here = std::min(kTileColumns, count - at);
    float scales[kTileColumns];
    for (int64_t j = 0; j < here; ++j) {
      const double norm = gallery_norms_[rows ? rows[at + j] : first + at + j];
      // A row of zeros has no direction: its cosine is taken as 0.
      scales[j] = norm > 0.0 ? static_cast<float>(1.0 / std::sqrt(norm)) : 0.0f;
      bias[at + j] = cosine ? 0.0f : static_cast<float>(-0.5 * norm);
    }
    pack(gallery_, rows ? rows + at : nullptr, first + at, here, cosine ? scales : nullptr,
         k_.column_panel, out + at * packed_depth_);
  }
  for (int64_t j = count; j < padded_columns(count); ++j) bias[j] = 0.0f;
}

void ScoreTiles::multiply(const float* left, int64_t rows, const float* right, int64_t columns,
                          const float* bias, float* scores, int64_t scores_stride) const {
  const int64_t column_panels = padded_columns(columns) / k_.column_panel;
  for (int64_t i = 0; i < padded_rows(rows); ++i) {
    std::fill_n(scores + i * scores_stride, column_panels * k_.column_panel, 0.0f);
  }
  const auto run = pairs_ ? k_.multiply_pairs : k_.multiply;
  for (int64_t at = 0; at < packed_depth_; at += kDepthBlock) {
    const bool last = at + kDepthBlock >= packed_depth_;
    run(std::min(kDepthBlock, packed_depth_ - at), rows, left + at * k_.row_panel,
        packed_depth_ * k_.row_panel, column_panels, right + at * k_.column_panel,
        packed_depth_ * k_.column_panel, last ? bias : nullptr, scores, scores_stride, false, 0);
  }
}

void squared_norms(const Matrix& matrix, double* out) {
  constexpr int64_t kRows = 256;
  parallel_items((matrix.rows + kRows - 1) / kRows, [&](int64_t, int64_t item) {
    const int64_t end = std::min(matrix.rows, (item + 1) * kRows);
    for (int64_t i = item * kRows; i < end; ++i) {
      out[i] = kernels().squared_norm(matrix.row(i), matrix.columns, matrix.bfloat16);
    }
  });
}

}  // namespace xferpipe
