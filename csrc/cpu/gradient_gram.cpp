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
constexpr int64_t kPositionsTile = 256;     // columns of a tile of products of single positions

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

// Tiles of the gradients are built, multiplied and discarded.
void multiply_built(const Factors& f, double* gram) {
  const Kernels& k = kernels();
  const int64_t n = f.samples;
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

// Columns [first, first + count) of all samples' factors side by side, as right panels.
void pack_positions(const float* factor, int64_t all_rows, int64_t positions, int64_t first,
                    int64_t count, float* out) {
  const Kernels& k = kernels();
  const float* columns[64];
  for (int64_t at = 0; at < count; at += k.column_panel) {
    const int64_t here = std::min(k.column_panel, count - at);
    for (int64_t j = 0; j < here; ++j) {
      const int64_t column = first + at + j;
      columns[j] = factor + column / positions * all_rows * positions + column % positions;
    }
    k.pack_columns(columns, here, all_rows, positions, out + at * all_rows);
  }
}

// tile (rows x kPositionsTile) = the product of packed columns.
void multiply_columns(const Operands& packed, int64_t row, int64_t rows, int64_t columns,
                      float* tile) {
  const Kernels& k = kernels();
  std::memset(tile, 0, sizeof(float) * round_up(rows, k.row_panel) * kPositionsTile);
  for (int64_t at = 0; at < packed.depth; at += kDepthBlock) {
    k.multiply(std::min(kDepthBlock, packed.depth - at), rows,
               packed.left + row * packed.depth + at * k.row_panel, packed.depth * k.row_panel,
               round_up(columns, k.column_panel) / k.column_panel,
               packed.right + at * k.column_panel, packed.depth * k.column_panel, nullptr, tile,
               kPositionsTile, false, 0);
  }
}

// Products of single positions, for maps so small that a gradient has more entries than a pair of
// samples has pairs of positions: <G_i, G_j> = sum over (q, r) of (D_i^T D_j)_qr (A_i^T A_j)_qr.
void multiply_positions(const Factors& f, double* gram) {
  const Kernels& k = kernels();
  const int64_t n = f.samples, q = f.positions, width = f.output_count + f.input_count;
  // Whole samples, in tiles of about 112 x 256 positions; the left side is packed in blocks.
  const int64_t tile_samples = std::max<int64_t>(1, 8 * k.row_panel / q);
  const int64_t tile_rows = round_up(tile_samples * q, k.row_panel);
  const int64_t column_samples = kPositionsTile / q;
  const int64_t block =
      std::max<int64_t>(1, kPackedFloats / (width * tile_rows)) * tile_samples;
  for (int64_t first = 0; first < n; first += block) {
    const int64_t samples = std::min(block, n - first);
    const int64_t tiles = (samples + tile_samples - 1) / tile_samples;
    float* left = workspace().get<float>(Scratch::kLeft, tiles * tile_rows * width);
    parallel_items(tiles, [&](int64_t, int64_t t) {
      const int64_t at = t * tile_samples, count = std::min(tile_samples, samples - at) * q;
      float* right = workspace().get<float>(Scratch::kRight,
                                            round_up(count, k.column_panel) * f.input_count +
                                                round_up(count, k.column_panel) * f.output_count);
      float* out = left + t * tile_rows * width;
      for (int64_t side = 0; side < 2; ++side) {
        const int64_t depth = side ? f.input_count : f.output_count;
        pack_positions(side ? f.inputs : f.outputs, depth, q, (first + at) * q, count, right);
        for (int64_t p = 0; p * k.column_panel < count; ++p) {
          copy_left_panels({out + (side ? tile_rows * f.output_count : 0), right, depth, false}, p,
                           count);
        }
      }
    });
    const int64_t columns_from = first / column_samples;
    const int64_t items = (n + column_samples - 1) / column_samples - columns_from;
    parallel_items(items, [&](int64_t, int64_t item) {
      const int64_t to = (columns_from + item) * column_samples;
      const int64_t count = std::min(column_samples, n - to), columns = count * q;
      Workspace& own = workspace();
      const int64_t padded = round_up(columns, k.column_panel);
      float* right = own.get<float>(Scratch::kRight, padded * width);
      float* tile = own.get<float>(Scratch::kTile, 2 * tile_rows * kPositionsTile);
      float* other = tile + tile_rows * kPositionsTile;
      pack_positions(f.outputs, f.output_count, q, to * q, columns, right);
      pack_positions(f.inputs, f.input_count, q, to * q, columns, right + padded * f.output_count);
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t from = first + t * tile_samples;
        if (from >= to + count) break;  // below the diagonal
        const int64_t here = std::min(tile_samples, first + samples - from);
        float* packed = left + t * tile_rows * width;
        multiply_columns({packed, right, f.output_count, false}, 0, here * q, columns, tile);
        multiply_columns({packed + tile_rows * f.output_count, right + padded * f.output_count,
                          f.input_count, false},
                         0, here * q, columns, other);
        for (int64_t i = 0; i < here; ++i) {
          for (int64_t j = std::max<int64_t>(0, from + i - to); j < count; ++j) {
            double sum = 0.0;
            for (int64_t r = i * q; r < (i + 1) * q; ++r) {
              const float* a = tile + r * kPositionsTile + j * q;
              const float* b = other + r * kPositionsTile + j * q;
              for (int64_t c = 0; c < q; ++c) {
                sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
              }
            }
            gram[(from + i) * n + to + j] += sum;
          }
        }
      }
    });
  }
}

}  // namespace

bool gradient_gram_by_positions(const Factors& f) {
  const double n = static_cast<double>(f.samples), q = static_cast<double>(f.positions);
  const double rows = static_cast<double>(f.output_count);
  const double columns = static_cast<double>(f.input_count), pairs = n * (n + 1) / 2;
  return f.positions <= kPositionsTile &&
         pairs * q * q * (rows + columns) < (pairs + n * q) * rows * columns;
}

void gradient_gram_factors(const Factors& f, double* gram) {
  if (f.samples == 0 || f.positions == 0) return;
  if (gradient_gram_by_positions(f)) {
    multiply_positions(f, gram);
  } else {
    multiply_built(f, gram);
  }
}

}  // namespace xferpipe
