// Body of the symmetric product: label_correlation (columns of the features) and gradient_gram
// (rows of the gradients) differ in the strides of the operand alone.
#pragma once
#include "tile.cuh"

namespace xferpipe::cuda {

constexpr int64_t kSlabSteps = 1024;  // float32 sums of this many products are added to float64

// gram (size x size; only j >= i is kept) += rows of `items` times each other over `depth` steps.
// A block owns its tile of gram, so no addition waits for another block's.
template <bool kSplit, class Context>
XFERPIPE_HOST_DEVICE inline void symmetric_body(Context& context, const Operand& items,
                                                int64_t depth, double* gram, float* shared) {
  const int64_t row = context.block_y() * kTile, column = context.block_x() * kTile;
  if (column + kTile <= row) return;
  for (int64_t first = 0; first < depth; first += kSlabSteps) {
    const int64_t end = first + kSlabSteps < depth ? first + kSlabSteps : depth;
    Accumulators sum;
    clear(sum);
    multiply_tile<kSplit>(context, items, row, items, column, first, end, shared, sum);
    // Through shared memory: 64 addresses at once would not fit the registers.
    to_shared(context, sum, shared);
    for (int e = context.thread(); e < kTile * kTile; e += kThreads) {
      const int64_t r = row + e / kTile, c = column + e % kTile;
      if (r < items.rows && c < items.rows && c >= r) {
        gram[r * items.rows + c] +=
            static_cast<double>(shared[(e / kTile) * kScoresPitch + e % kTile]);
      }
    }
  }
}

// class_sums (classes x d) += rows, one thread per column, rows in order.
template <class Context>
XFERPIPE_HOST_DEVICE inline void class_sums_body(Context& context, const Operand& rows, int64_t d,
                                                 const int64_t* labels, double* class_sums) {
  const int64_t c = context.block_x() * kThreads + context.thread();
  if (c >= d) return;
  for (int64_t i = 0; i < rows.rows; ++i) {
    class_sums[labels[i] * d + c] += static_cast<double>(rows.at(i, c));
  }
}

}  // namespace xferpipe::cuda
