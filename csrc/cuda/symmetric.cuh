// Bodies of the symmetric product: label_correlation (columns or rows of the features) and
// gradient_gram (rows of the gradients) differ in the strides of the operand alone.
#pragma once
#include "tile.cuh"

namespace xferpipe::cuda {

constexpr int64_t kSlabSteps = 1024;  // float32 sums of this many products are added to float64
constexpr int kEntries = kTile * kTile / kThreads;
// The slabs, and after them the tile in float64: value e of thread t at e * kThreads + t, so that a
// thread meets nobody else's values.
constexpr int kSymmetricBytes = 4 * 2 * kSlabFloats + 8 * kTile * kTile;

// Tiles on and above the diagonal, row by row: tile t of `side` x `side`.
struct TilePlace {
  int64_t row, column;
};
XFERPIPE_HOST_DEVICE inline TilePlace upper_tile(int64_t t, int64_t side) {
  int64_t row = 0;
  while (t >= side - row) {
    t -= side - row;
    ++row;
  }
  return {row * kTile, (row + t) * kTile};
}
XFERPIPE_HOST_DEVICE inline Place entry_place(int thread, int e) {
  return place(thread, e / 16, e / 4 % 4, e % 4);
}

// What becomes of a tile: it is added to gram (size x size; only j >= i is kept), stored as a part
// (parts, tiles, kEntries, kThreads), or squared and summed with its mirror image into squares[tile].
struct SymmetricTarget {
  double* gram;
  double* parts;
  double* squares;
};

template <class Context>
XFERPIPE_HOST_DEVICE inline void finish_tile(Context& context, const TilePlace& at, int64_t size,
                                             const double* total, double* gram, double* squares,
                                             double* scratch) {
  const int thread = context.thread();
  double square = 0.0;
  for (int e = 0; e < kEntries; ++e) {
    const Place p = entry_place(thread, e);
    const int64_t r = at.row + p.row, c = at.column + p.column;
    if (r >= size || c >= size || c < r) continue;
    // Without totals the tile has been finished before and gram holds it.
    const double value = total ? total[e * kThreads + thread] : gram[r * size + c];
    if (total && gram) gram[r * size + c] = value;
    square += (c > r ? 2.0 : 1.0) * value * value;
  }
  if (squares) {
    square = block_sum(context, square, scratch);
    if (thread == 0) *squares = square;
  }
}

// Tile x of a finished gram: its squares, with the bits that symmetric_body gives them.
template <class Context>
XFERPIPE_HOST_DEVICE inline void gram_squares_body(Context& context, double* gram, int64_t size,
                                                   double* squares, double* shared) {
  const int64_t tile = context.block_x();
  finish_tile(context, upper_tile(tile, (size + kTile - 1) / kTile), size, nullptr, gram,
              squares + tile, shared);
}

// Block (x, y): tile x over part y of the depth, `part_steps` long (a multiple of kSlabSteps). With
// one part the sums go on from what gram holds, slab by slab, so that a stream of chunks gives the
// bits of one call.
template <bool kSplit, class Context, class Items>
XFERPIPE_HOST_DEVICE inline void symmetric_body(Context& context, const Items& items,
                                                int64_t depth, int64_t part_steps, int64_t tiles,
                                                const SymmetricTarget& target, float* shared) {
  const int64_t side = (items.rows + kTile - 1) / kTile, tile = context.block_x();
  const TilePlace at = upper_tile(tile, side);
  const int thread = context.thread();
  double* total = reinterpret_cast<double*>(shared + 2 * kSlabFloats);
  for (int e = 0; e < kEntries; ++e) {
    const Place p = entry_place(thread, e);
    const int64_t r = at.row + p.row, c = at.column + p.column;
    const bool held = target.gram && r < items.rows && c < items.rows && c >= r;
    total[e * kThreads + thread] = held ? target.gram[r * items.rows + c] : 0.0;
  }
  const int64_t begin = context.block_y() * part_steps;
  const int64_t stop = begin + part_steps < depth ? begin + part_steps : depth;
  for (int64_t first = begin; first < stop; first += kSlabSteps) {
    const int64_t end = first + kSlabSteps < stop ? first + kSlabSteps : stop;
    Accumulators sum;
    sum.clear();
    multiply_tile<kSplit, kSplit>(context, items, at.row, items, at.column, first, end, shared,
                                  sum);
#pragma unroll
    for (int e = 0; e < kEntries; ++e) {
      total[e * kThreads + thread] += static_cast<double>(sum.value[e / 16][e / 4 % 4][e % 4]);
    }
  }
  if (target.parts) {
    double* part = target.parts + (context.block_y() * tiles + tile) * kTile * kTile;
    for (int e = 0; e < kEntries; ++e) {
      part[e * kThreads + thread] = total[e * kThreads + thread];
    }
  } else {
    context.sync();  // the slabs have been read and become scratch
    finish_tile(context, at, items.rows, total, target.gram,
                target.squares ? target.squares + tile : nullptr,
                reinterpret_cast<double*>(shared));
  }
}

// gram += the parts of a tile, in order.
template <class Context>
XFERPIPE_HOST_DEVICE inline void combine_body(Context& context, int64_t size, int64_t tiles,
                                              int64_t count, const double* parts, double* gram) {
  const TilePlace at = upper_tile(context.block_x(), (size + kTile - 1) / kTile);
  const int thread = context.thread();
  for (int e = 0; e < kEntries; ++e) {
    const Place p = entry_place(thread, e);
    const int64_t r = at.row + p.row, c = at.column + p.column;
    if (r >= size || c >= size || c < r) continue;
    double sum = gram[r * size + c];
    for (int64_t part = 0; part < count; ++part) {
      sum += parts[(part * tiles + context.block_x()) * kTile * kTile + e * kThreads + thread];
    }
    gram[r * size + c] = sum;
  }
}

}  // namespace xferpipe::cuda
