#include "symmetric.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../core/parallel.h"
#include "../core/workspace.h"
#include "score_tiles.h"

namespace xferpipe {
namespace {

constexpr int64_t kRowsTile = 112;     // tile of the Gram matrix: row panels up to that many rows ...
constexpr int64_t kColumnsTile = 128;  // ... by that many columns

}  // namespace

// gram += left^T right on and above the diagonal, in float32 slabs added to float64.
void add_symmetric_product(const Operands& packed, int64_t size, double* gram) {
  const Kernels& k = kernels();
  const auto multiply = packed.pairs ? k.multiply_pairs : k.multiply;
  const int64_t slab_steps = packed.pairs ? kSlabRows / 2 : kSlabRows;
  const int64_t tile_rows = kRowsTile / k.row_panel * k.row_panel;
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
    const int64_t column_panels = round_up(columns, k.column_panel) / k.column_panel;
    float* slab = workspace().get<float>(Scratch::kTile, tile_rows * kColumnsTile);
    for (int64_t first = 0; first < packed.depth; first += slab_steps) {
      const int64_t end = std::min(packed.depth, first + slab_steps);
      std::memset(slab, 0, sizeof(float) * round_up(rows, k.row_panel) * kColumnsTile);
      for (int64_t at = first; at < end; at += kDepthBlock) {
        multiply(std::min(kDepthBlock, end - at), rows,
                 packed.left + t.row * packed.depth + at * k.row_panel,
                 packed.depth * k.row_panel, column_panels,
                 packed.right + t.column * packed.depth + at * k.column_panel,
                 packed.depth * k.column_panel, nullptr, slab, kColumnsTile, true,
                 t.row - t.column);
      }
      for (int64_t i = 0; i < rows; ++i) {
        // Entries below the diagonal are left out, but for the few that share a vector with it.
        const int64_t from = std::max<int64_t>(0, (t.row + i - t.column) / 8 * 8);
        if (from >= columns) break;
        k.add_to_double(slab + i * kColumnsTile + from, columns - from,
                        gram + (t.row + i) * size + t.column + from);
      }
    }
  });
}

void copy_left_panels(const Operands& packed, int64_t panel, int64_t size) {
  const Kernels& k = kernels();
  const int64_t first = panel * k.column_panel, end = std::min(size, first + k.column_panel);
  for (int64_t at = first; at < end;) {
    const int64_t row = at / k.row_panel, count = std::min(end, (row + 1) * k.row_panel) - at;
    k.copy_left(packed.right + first * packed.depth, at - first, count, packed.depth,
                packed.left + row * k.row_panel * packed.depth + at % k.row_panel);
    at += count;
  }
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

}  // namespace xferpipe
