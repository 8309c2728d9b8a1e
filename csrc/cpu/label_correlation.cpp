#include "label_correlation.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../core/correlation.h"
#include "../core/parallel.h"
#include "../core/workspace.h"
#include "score_tiles.h"

namespace xferpipe {
namespace {

constexpr int64_t kGroupSlabs = 2;     // slabs packed at once: bounds the memory of a long stream
constexpr int64_t kRowPanelsTile = 8;  // tile of the Gram matrix: that many row panels ...
constexpr int64_t kColumnsTile = 256;  // ... by that many columns

float feature(const Matrix& m, const char* row, int64_t column) {
  if (!m.bfloat16) {
    float value;
    std::memcpy(&value, row + 4 * column, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, row + 2 * column, 2);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

float shifted(float value, const double* shift, int64_t column) {
  return shift ? static_cast<float>(static_cast<double>(value) - shift[column]) : value;
}

// Both operands of a symmetric product over `depth` steps, packed: left[panel][k][row_panel] and
// right[panel][k][column_panel].
struct Operands {
  float* left;
  float* right;
  int64_t depth;
};

// gram += left^T right on and above the diagonal, in float32 slabs added to float64.
void add_symmetric_product(const Operands& packed, int64_t size, double* gram) {
  const Kernels& k = kernels();
  const int64_t tile_rows = kRowPanelsTile * k.row_panel;
  const int64_t row_tiles = (size + tile_rows - 1) / tile_rows;
  const int64_t column_tiles = (size + kColumnsTile - 1) / kColumnsTile;
  struct Tile {
    int64_t row, column;
  };
  std::vector<Tile> work;
  for (int64_t j = 0; j < column_tiles; ++j) {
    for (int64_t i = 0; i < row_tiles; ++i) {
      if (std::min(size, (j + 1) * kColumnsTile) > i * tile_rows) {
        work.push_back({i * tile_rows, j * kColumnsTile});
      }
    }
  }
  parallel_items(static_cast<int64_t>(work.size()), [&](int64_t, int64_t item) {
    const Tile t = work[item];
    const int64_t rows = std::min(tile_rows, size - t.row);
    const int64_t columns = std::min(kColumnsTile, size - t.column);
    const int64_t row_panels = round_up(rows, k.row_panel) / k.row_panel;
    const int64_t column_panels = round_up(columns, k.column_panel) / k.column_panel;
    float* slab = workspace().get<float>(Scratch::kTile, tile_rows * kColumnsTile);
    double* sums = workspace().get<double>(Scratch::kSums, tile_rows * kColumnsTile);
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(gram + (t.row + i) * size + t.column, columns, sums + i * kColumnsTile);
    }
    for (int64_t first = 0; first < packed.depth; first += kSlabRows) {
      const int64_t end = std::min(packed.depth, first + kSlabRows);
      std::memset(slab, 0, sizeof(float) * row_panels * k.row_panel * kColumnsTile);
      for (int64_t at = first; at < end; at += kDepthBlock) {
        k.multiply(std::min(kDepthBlock, end - at), row_panels,
                   packed.left + t.row * packed.depth + at * k.row_panel,
                   packed.depth * k.row_panel, column_panels,
                   packed.right + t.column * packed.depth + at * k.column_panel,
                   packed.depth * k.column_panel, nullptr, slab, kColumnsTile, true, t.row - t.column);
      }
      for (int64_t i = 0; i < rows; ++i) {
        k.add_to_double(slab + i * kColumnsTile, columns, sums + i * kColumnsTile);
      }
    }
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(sums + i * kColumnsTile, columns, gram + (t.row + i) * size + t.column);
    }
  });
}

}  // namespace

void label_correlation_columns(const Matrix& features, const int64_t* labels, const double* shift,
                               double* gram, double* class_sums) {
  const Kernels& k = kernels();
  const int64_t d = features.columns;
  const int64_t group = kGroupSlabs * kSlabRows;
  const int64_t depth_max = std::min(group, features.rows);
  float* left = workspace().get<float>(Scratch::kLeft, round_up(d, k.row_panel) * depth_max);
  float* right = workspace().get<float>(Scratch::kRight, round_up(d, k.column_panel) * depth_max);
  for (int64_t first = 0; first < features.rows; first += group) {
    const int64_t depth = std::min(group, features.rows - first);
    // A work item owns a strip of columns: it packs them and adds them to the class sums, so a sum
    // has one owner and one order of additions whatever the number of threads.
    const int64_t strip = k.row_panel * k.column_panel;
    parallel_items((d + strip - 1) / strip, [&](int64_t, int64_t item) {
      const int64_t from = item * strip, to = std::min(d, from + strip);
      for (int64_t c = from; c < to; c += k.column_panel) {
        const int64_t width = std::min(k.column_panel, to - c);
        float* out = right + c * depth;
        for (int64_t s = 0; s < depth; ++s, out += k.column_panel) {
          const char* row = features.row(first + s);
          double* sums = class_sums + labels[first + s] * d + c;
          if (!features.bfloat16 && !shift) {
            const float* values = reinterpret_cast<const float*>(row) + c;
            for (int64_t j = 0; j < width; ++j) {
              out[j] = values[j];
              sums[j] += values[j];
            }
          } else {
            for (int64_t j = 0; j < width; ++j) {
              const float value = shifted(feature(features, row, c + j), shift, c + j);
              out[j] = value;
              sums[j] += value;
            }
          }
          for (int64_t j = width; j < k.column_panel; ++j) out[j] = 0.0f;
        }
      }
      for (int64_t r = from; r < to; r += k.row_panel) {
        const int64_t width = std::min(k.row_panel, to - r);
        float* out = left + r * depth;
        for (int64_t j = 0; j < k.row_panel; ++j) {
          const int64_t c = r + j;
          const float* column = right + c / k.column_panel * k.column_panel * depth +
                                c % k.column_panel;
          for (int64_t s = 0; s < depth; ++s) {
            out[s * k.row_panel + j] = j < width ? column[s * k.column_panel] : 0.0f;
          }
        }
      }
    });
    add_symmetric_product({left, right, depth}, d, gram);
  }
}

void label_correlation_rows(const Matrix& features, const int64_t* labels, const double* shift,
                            double* gram, double* class_sums) {
  const Kernels& k = kernels();
  const int64_t n = features.rows, d = features.columns;
  float* left = workspace().get<float>(Scratch::kLeft, round_up(n, k.row_panel) * d);
  float* right = workspace().get<float>(Scratch::kRight, round_up(n, k.column_panel) * d);
  std::vector<float> moved;  // the shifted rows, when there is a shift
  Matrix source = features;
  if (shift) {
    moved.resize(n * d);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t c = 0; c < d; ++c) {
        moved[i * d + c] = shifted(feature(features, features.row(i), c), shift, c);
      }
    }
    source = Matrix{moved.data(), n, d, d, false};
  }
  for (int64_t i = 0; i < n; ++i) {
    double* sums = class_sums + labels[i] * d;
    const char* row = source.row(i);
    for (int64_t c = 0; c < d; ++c) sums[c] += feature(source, row, c);
  }
  std::vector<const char*> rows(n);
  for (int64_t i = 0; i < n; ++i) rows[i] = source.row(i);
  k.pack_rows(rows.data(), nullptr, n, d, k.row_panel, source.bfloat16, left);
  k.pack_rows(rows.data(), nullptr, n, d, k.column_panel, source.bfloat16, right);
  add_symmetric_product({left, right, d}, n, gram);
}

double symmetric_square(const double* gram, int64_t size) {
  std::vector<double> row_sums(size);
  constexpr int64_t kRows = 32;
  parallel_items((size + kRows - 1) / kRows, [&](int64_t, int64_t item) {
    for (int64_t i = item * kRows; i < std::min(size, (item + 1) * kRows); ++i) {
      const double* row = gram + i * size;
      double sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
      int64_t j = i + 1;
      for (; j + 8 <= size; j += 8) {
        for (int l = 0; l < 8; ++l) sums[l] += row[j + l] * row[j + l];
      }
      for (; j < size; ++j) sums[0] += row[j] * row[j];
      const double off =
          ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
      row_sums[i] = row[i] * row[i] + 2.0 * off;
    }
  });
  double total = 0.0;
  for (double sum : row_sums) total += sum;
  return total;
}

double label_correlation_finish(const double* gram, int64_t size, const double* class_sums,
                                const int64_t* class_counts, int64_t classes, int64_t features) {
  CorrelationSums m = {};
  m.gram_square = symmetric_square(gram, size);
  std::vector<double> total(features, 0.0);
  for (int64_t c = 0; c < classes; ++c) {
    const double count = static_cast<double>(class_counts[c]);
    m.samples += count;
    m.class_count_square += count * count;
    double square = 0.0;
    for (int64_t j = 0; j < features; ++j) {
      const double value = class_sums[c * features + j];
      square += value * value;
      total[j] += value;
    }
    m.class_square += square;
  }
  for (double value : total) m.total_square += value * value;
  return label_correlation_value(m);
}

void column_sums(const Matrix& features, double* sums) {
  constexpr int64_t kColumns = 64;
  parallel_items((features.columns + kColumns - 1) / kColumns, [&](int64_t, int64_t item) {
    const int64_t from = item * kColumns, to = std::min(features.columns, from + kColumns);
    for (int64_t i = 0; i < features.rows; ++i) {
      const char* row = features.row(i);
      for (int64_t c = from; c < to; ++c) sums[c] += feature(features, row, c);
    }
  });
}

}  // namespace xferpipe
