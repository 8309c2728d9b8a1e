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

namespace {

constexpr int64_t kSquareRows = 32;

// The sum over rows of what `term` makes of one, in the order of the rows for any number of threads.
template <typename Term>
double sum_over_rows(int64_t size, const Term& term) {
  std::vector<double> row_sums(size);
  parallel_items((size + kSquareRows - 1) / kSquareRows, [&](int64_t, int64_t item) {
    const int64_t end = std::min(size, (item + 1) * kSquareRows);
    for (int64_t i = item * kSquareRows; i < end; ++i) row_sums[i] = term(i);
  });
  double total = 0.0;
  for (double sum : row_sums) total += sum;
  return total;
}

// The sum of product(j) for j from `from` on, in eight sums that an optimiser may keep in a vector.
template <typename Product>
double sum_behind(int64_t from, int64_t size, const Product& product) {
  double sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  int64_t j = from;
  for (; j + 8 <= size; j += 8) {
    for (int l = 0; l < 8; ++l) sums[l] += product(j + l);
  }
  for (; j < size; ++j) sums[0] += product(j);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace

double symmetric_square(const double* gram, int64_t size) {
  return sum_over_rows(size, [&](int64_t i) {
    const double* row = gram + i * size;
    const double off = sum_behind(i + 1, size, [&](int64_t j) { return row[j] * row[j]; });
    return row[i] * row[i] + 2.0 * off;
  });
}

double symmetric_form(const double* gram, int64_t size, const double* v) {
  return sum_over_rows(size, [&](int64_t i) {
    const double* row = gram + i * size;
    const double off = sum_behind(i + 1, size, [&](int64_t j) { return row[j] * v[j]; });
    return v[i] * (row[i] * v[i] + 2.0 * off);
  });
}

}  // namespace xferpipe
