// Bodies of products with random rows made on the fly (dense and Kronecker sketches) and of the
// outer products that build gradients from their factors.
#pragma once
#include "tile.cuh"

namespace xferpipe::cuda {

constexpr int64_t kProjectionSteps = 8192;  // float32 sums of this many products go to the result

// Entry (row, column) of a result: rows in groups, as in ColumnsOf.
struct Target {
  float* out;
  int64_t group, group_stride, row_stride, column_stride;

  XFERPIPE_HOST_DEVICE float* at(int64_t row, int64_t column) const {
    return out + row / group * group_stride + row % group * row_stride + column * column_stride;
  }
};

// out += scale * rows times `columns` random rows, over the coordinates [begin, end) of those. Steps
// are aligned to the coordinates' own numbers. Block (x, y): columns of tile x, rows of tile y.
template <bool kSplitA, bool kSplitB, class Rows, class Random, class Context>
XFERPIPE_HOST_DEVICE inline void project_body(Context& context, const Rows& rows,
                                              const Random& random, int64_t columns, int64_t begin,
                                              int64_t end, float scale, const Target& target,
                                              float* shared) {
  const int64_t column = context.block_x() * kTile, row = context.block_y() * kTile;
  for (int64_t first = begin / kProjectionSteps * kProjectionSteps; first < end;
       first += kProjectionSteps) {
    const int64_t from = first < begin ? begin / kSlab * kSlab : first;
    const int64_t to = first + kProjectionSteps < end ? first + kProjectionSteps : end;
    Accumulators sum;
    sum.clear();
    multiply_tile<kSplitA, kSplitB>(context, rows, row, random, column, from, to, shared, sum);
    to_shared(context, sum, shared);
    for (int e = context.thread(); e < kTile * kTile; e += kThreads) {
      // Neighbouring threads write neighbouring entries.
      const bool wide = target.column_stride == 1;
      const int r = wide ? e / kTile : e % kTile, c = wide ? e % kTile : e / kTile;
      if (row + r < rows.rows && column + c < columns) {
        *target.at(row + r, column + c) += scale * shared[r * kScoresPitch + c];
      }
    }
  }
}

// For each sample the first `limit` entries, row by row, of scale * left times right transposed.
// Block (x, y): tile x of the product, sample y.
struct OuterJob {
  const float* left;   // (n, left_rows, positions) with sample_stride between samples
  const float* right;  // (n, right_rows, positions)
  int64_t left_rows, right_rows, positions;
  int64_t left_sample, right_sample;
  int64_t limit;
  float scale;
};
template <class Context>
XFERPIPE_HOST_DEVICE inline void outer_body(Context& context, const OuterJob& job,
                                            int64_t column_tiles, float* out, float* shared) {
  const int64_t row = context.block_x() / column_tiles * kTile;
  const int64_t column = context.block_x() % column_tiles * kTile, sample = context.block_y();
  const RowsOf left = {job.left + sample * job.left_sample, job.positions, job.left_rows, false};
  const RowsOf right = {job.right + sample * job.right_sample, job.positions, job.right_rows, false};
  Accumulators sum;
  sum.clear();
  multiply_tile<true, true>(context, left, row, right, column, 0, job.positions, shared, sum);
  to_shared(context, sum, shared);
  for (int e = context.thread(); e < kTile * kTile; e += kThreads) {
    const int64_t r = row + e / kTile, c = column + e % kTile, entry = r * job.right_rows + c;
    if (r < job.left_rows && c < job.right_rows && entry < job.limit) {
      out[sample * job.limit + entry] =
          job.scale * shared[e / kTile * kScoresPitch + e % kTile];
    }
  }
}

}  // namespace xferpipe::cuda
