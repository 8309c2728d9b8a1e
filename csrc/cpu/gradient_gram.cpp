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
constexpr int64_t kPositionsBlock = 64;     // positions packed at once, and with the tile's sides ...
constexpr int64_t kColumnsAtMost = 256;     // ... what keeps the packed factors in the cache

Operands operands(int64_t samples, int64_t depth) {
  const Kernels& k = kernels();
  return {workspace().get<float>(Scratch::kLeft, round_up(samples, k.row_panel) * depth),
          workspace().get<float>(Scratch::kRight, round_up(samples, k.column_panel) * depth),
          depth, false};
}

}  // namespace

void gradient_gram(const Matrix& gradients, double* gram) {
  const Kernels& k = kernels();
  const int64_t n = gradients.rows, p = gradients.columns;
  if (n == 0 || p == 0) return;
  const int64_t group =
      std::clamp<int64_t>(kPackedFloats / n / kSlabRows, 1, 16) * kSlabRows;
  const int64_t bytes = gradients.bfloat16 ? 2 : 4;
  const bool pairs = gradients.bfloat16 && k.multiply_pairs;
  for (int64_t first = 0; first < p; first += group) {
    const int64_t values = std::min(group, p - first), depth = pairs ? (values + 1) / 2 : values;
    const Operands packed = operands(n, std::min(group, p));
    const Operands here = {packed.left, packed.right, depth, pairs};
    parallel_items((n + k.column_panel - 1) / k.column_panel, [&](int64_t, int64_t panel) {
      const char* rows[64];
      const int64_t at = panel * k.column_panel, count = std::min(k.column_panel, n - at);
      for (int64_t i = 0; i < count; ++i) rows[i] = gradients.row(at + i) + bytes * first;
      float* out = here.right + at * depth;
      if (pairs) {
        k.pack_pairs(rows, count, values, k.column_panel, out);
      } else {
        k.pack_rows(rows, nullptr, count, depth, k.column_panel, gradients.bfloat16, out);
      }
      copy_left_panels(here, panel, n);
    });
    add_symmetric_product(here, n, gram);
  }
}

namespace {

// Positions [from, from + count) of `rows` rows of each sample's factor, a sample per lane:
// out[r * count + q][lane].
void pack_factor(const float* factor, int64_t all_rows, int64_t positions, int64_t sample,
                 int64_t samples, int64_t row, int64_t rows, int64_t from, int64_t count,
                 float* out) {
  const Kernels& k = kernels();
  const char* pointers[64];
  // Whole rows follow each other without a gap and are packed as one.
  const int64_t step = count == positions ? rows : 1;
  for (int64_t r = 0; r < rows; r += step) {
    for (int64_t i = 0; i < samples; ++i) {
      pointers[i] = reinterpret_cast<const char*>(
          factor + ((sample + i) * all_rows + row + r) * positions + from);
    }
    k.pack_rows(pointers, nullptr, samples, step * count, k.column_panel, false,
                out + r * count * k.column_panel);
  }
}

}  // namespace

void gradient_gram_factors(const Factors& f, double* gram) {
  const Kernels& k = kernels();
  const int64_t n = f.samples;
  if (n == 0 || f.positions == 0) return;
  // A tile of every sample's gradient. What is packed for it grows with its sides and what is
  // computed with its area, so it is nearly square; 48 x 64 entries are three slabs.
  const int64_t most = std::clamp<int64_t>(kPackedFloats / n, 1024, 3 * kSlabRows);
  const int64_t row_step = std::min<int64_t>(f.output_count, most / 64);
  const int64_t column_step =
      std::min<int64_t>({f.input_count, most / row_step / 4 * 4, kColumnsAtMost});
  const int64_t depth_step = std::min(kPositionsBlock, f.positions);
  for (int64_t row = 0; row < f.output_count; row += row_step) {
    const int64_t rows = std::min(row_step, f.output_count - row);
    for (int64_t column = 0; column < f.input_count; column += column_step) {
      const int64_t columns = std::min(column_step, f.input_count - column);
      const int64_t depth = rows * columns;
      const Operands packed = operands(n, depth);
      parallel_items((n + k.column_panel - 1) / k.column_panel, [&](int64_t, int64_t panel) {
        const int64_t at = panel * k.column_panel, count = std::min(k.column_panel, n - at);
        float* left = workspace().get<float>(
            Scratch::kRow, (row_step + column_step) * depth_step * k.column_panel);
        float* right = left + row_step * depth_step * k.column_panel;
        for (int64_t q = 0; q < f.positions; q += depth_step) {
          const int64_t here = std::min(depth_step, f.positions - q);
          pack_factor(f.outputs, f.output_count, f.positions, at, count, row, rows, q, here, left);
          pack_factor(f.inputs, f.input_count, f.positions, at, count, column, columns, q, here,
                      right);
          k.factor_tile(here, rows, left, columns, right, k.column_panel, q > 0,
                        packed.right + at * depth);
        }
        copy_left_panels(packed, panel, n);
      });
      add_symmetric_product(packed, n, gram);
    }
  }
}

}  // namespace xferpipe
