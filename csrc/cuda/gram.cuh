// Bodies that take the float32 products of a symmetric product into float64; see ops/cuda/products.py.
#pragma once
#include "context.cuh"

namespace xferpipe::cuda {

// Sums of a panel (slabs, height, width): rows `first` and following of the product, with the columns
// from `first` to `padded` and, in what is left of the width, with the low parts of all rows.
struct Panel {
  const float* sums;
  int64_t slabs, height, width, first, padded, n;
};

// gram and cross (n x n) += the panel. Block (x, y): columns of tile x, row y.
template <class Context>
XFERPIPE_HOST_DEVICE inline void add_panel_body(Context& context, const Panel& panel, double* gram,
                                                double* cross) {
  const int64_t c = context.block_x() * kThreads + context.thread();
  const int64_t row = panel.first + context.block_y();
  if (c >= panel.width || row >= panel.n) return;
  const int64_t own = panel.padded - panel.first;
  const bool low = c >= own;
  const int64_t column = low ? c - own : panel.first + c;
  if (column >= panel.n) return;
  const float* at = panel.sums + context.block_y() * panel.width + c;
  double sum = 0.0;
#pragma unroll 8
  for (int64_t slab = 0; slab < panel.slabs; ++slab) {
    sum += static_cast<double>(at[slab * panel.height * panel.width]);
  }
  double* into = (low ? cross : gram) + row * panel.n + column;
  *into += sum;
}

constexpr int kMomentTile = 32;
constexpr int kMomentBytes = 8 * (kMomentTile * (kMomentTile + 1) + kThreads);

// Tile t of those on and above the diagonal, row by row, of `side` x `side`.
struct TilePlace {
  int64_t row, column;
};
XFERPIPE_HOST_DEVICE inline TilePlace upper_tile(int64_t t, int64_t side) {
  int64_t row = 0;
  while (t >= side - row) {
    t -= side - row;
    ++row;
  }
  return {row, row + t};
}

// partial (tiles, 2) = |G|^2 and m^T G m of tile x and of its mirror image, of the symmetric G = gram +
// cross + cross^T; `cross` and `mean` may be null.
template <class Context>
XFERPIPE_HOST_DEVICE inline void moments_body(Context& context, const double* gram,
                                              const double* cross, const double* mean, int64_t n,
                                              double* partial, double* shared) {
  const int64_t side = (n + kMomentTile - 1) / kMomentTile;
  const TilePlace tile = upper_tile(context.block_x(), side);
  const int64_t row = tile.row * kMomentTile, column = tile.column * kMomentTile;
  constexpr int kPitch = kMomentTile + 1;
  for (int e = context.thread(); cross && e < kMomentTile * kMomentTile; e += kThreads) {
    const int r = e / kMomentTile, c = e % kMomentTile;  // of the mirror image
    const bool in = column + r < n && row + c < n;
    shared[c * kPitch + r] = in ? cross[(column + r) * n + row + c] : 0.0;
  }
  context.sync();
  double square = 0.0, along = 0.0;
  for (int e = context.thread(); e < kMomentTile * kMomentTile; e += kThreads) {
    const int r = e / kMomentTile, c = e % kMomentTile;
    const int64_t i = row + r, j = column + c;
    if (i >= n || j >= n || j < i) continue;
    double value = gram[i * n + j];
    if (cross) value += cross[i * n + j] + shared[r * kPitch + c];
    const double twice = j > i ? 2.0 : 1.0;
    square += twice * value * value;
    if (mean) along += twice * mean[i] * mean[j] * value;
  }
  double* scratch = shared + kMomentTile * kPitch;
  square = block_sum(context, square, scratch);
  along = block_sum(context, along, scratch);
  if (context.thread() == 0) {
    partial[2 * context.block_x()] = square;
    partial[2 * context.block_x() + 1] = along;
  }
}

}  // namespace xferpipe::cuda
