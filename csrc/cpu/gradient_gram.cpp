#include "gradient_gram.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../core/parallel.h"
#include "../core/workspace.h"
#include "score_tiles.h"
#include "symmetric.h"

namespace xferpipe {
namespace {

constexpr int64_t kPackedFloats = 4 << 20;  // per operand: bounds the memory whatever p is

Operands operands(int64_t samples, int64_t depth) {
  const Kernels& k = kernels();
  return {workspace().get<float>(Scratch::kLeft, round_up(samples, k.row_panel) * depth),
          workspace().get<float>(Scratch::kRight, round_up(samples, k.column_panel) * depth),
          depth};
}

}  // namespace

void gradient_gram(const Matrix& gradients, double* gram) {
  const Kernels& k = kernels();
  const int64_t n = gradients.rows, p = gradients.columns;
  if (n == 0 || p == 0) return;
  const int64_t group =
      std::clamp<int64_t>(kPackedFloats / n / kSlabRows, 1, 16) * kSlabRows;
  const int64_t bytes = gradients.bfloat16 ? 2 : 4;
  for (int64_t first = 0; first < p; first += group) {
    const int64_t depth = std::min(group, p - first);
    const Operands packed = operands(n, std::min(group, p));
    const Operands here = {packed.left, packed.right, depth};
    parallel_items((n + k.column_panel - 1) / k.column_panel, [&](int64_t, int64_t panel) {
      const char* rows[64];
      const int64_t at = panel * k.column_panel, count = std::min(k.column_panel, n - at);
      for (int64_t i = 0; i < count; ++i) rows[i] = gradients.row(at + i) + bytes * first;
      k.pack_rows(rows, nullptr, count, depth, k.column_panel, gradients.bfloat16,
                  here.right + at * depth);
    });
    left_from_right(here, n);
    add_symmetric_product(here, n, gram);
  }
}

void gradient_gram_factors(const Factors& f, double* gram) {
  const Kernels& k = kernels();
  const int64_t n = f.samples;
  if (n == 0 || f.positions == 0) return;
  // A tile of every sample's gradient: outputs x inputs. Nearly square, since what is packed per
  // tile grows with its sides and what is computed with its area.
  const int64_t most = std::max<int64_t>(1024, kPackedFloats / n);
  const int64_t column_step =
      std::min(round_up(f.input_count, k.column_panel), most >= 8192 ? 64L : k.column_panel);
  int64_t row_step = std::max<int64_t>(k.row_panel, most / column_step / k.row_panel * k.row_panel);
  row_step = std::min({row_step, 8 * k.row_panel, round_up(f.output_count, k.row_panel)});
  for (int64_t row = 0; row < f.output_count; row += row_step) {
    const int64_t rows = std::min(row_step, f.output_count - row);
    for (int64_t column = 0; column < f.input_count; column += column_step) {
      const int64_t columns = std::min(column_step, f.input_count - column);
      const int64_t padded = round_up(columns, k.column_panel);
      const int64_t depth = rows * padded;
      const Operands packed = operands(n, depth);
      parallel_items((n + k.column_panel - 1) / k.column_panel, [&](int64_t, int64_t panel) {
        const int64_t at = panel * k.column_panel, count = std::min(k.column_panel, n - at);
        Workspace& own = workspace();
        const int64_t row_floats = round_up(rows, k.row_panel) * f.positions;
        float* left = own.get<float>(Scratch::kRow, row_floats + padded * f.positions);
        float* right = left + row_floats;
        const int64_t tile_floats = round_up(rows, k.row_panel) * padded;
        float* tiles = own.get<float>(Scratch::kTile, k.column_panel * tile_floats);
        std::memset(tiles, 0, sizeof(float) * count * tile_floats);
        const char* pointers[512];
        const char* built[64];
        for (int64_t i = 0; i < count; ++i) {
          const float* d = f.outputs + ((at + i) * f.output_count + row) * f.positions;
          const float* a = f.inputs + ((at + i) * f.input_count + column) * f.positions;
          for (int64_t r = 0; r < rows; ++r) {
            pointers[r] = reinterpret_cast<const char*>(d + r * f.positions);
          }
          k.pack_rows(pointers, nullptr, rows, f.positions, k.row_panel, false, left);
          for (int64_t c = 0; c < columns; ++c) {
            pointers[c] = reinterpret_cast<const char*>(a + c * f.positions);
          }
          k.pack_rows(pointers, nullptr, columns, f.positions, k.column_panel, false, right);
          float* tile = tiles + i * tile_floats;
          k.multiply(f.positions, round_up(rows, k.row_panel) / k.row_panel, left,
                     f.positions * k.row_panel, padded / k.column_panel, right,
                     f.positions * k.column_panel, nullptr, tile, padded, false, 0);
          built[i] = reinterpret_cast<const char*>(tile);
        }
        k.pack_rows(built, nullptr, count, depth, k.column_panel, false,
                    packed.right + at * depth);
      });
      left_from_right(packed, n);
      add_symmetric_product(packed, n, gram);
    }
  }
}

}  // namespace xferpipe
