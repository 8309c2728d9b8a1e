// Bodies of the sums that label_correlation needs besides the Gram matrix. Every sum has one owner
// and one order of additions.
#pragma once
#include "../core/correlation.h"
#include "context.cuh"
#include "operand.cuh"

namespace xferpipe::cuda {

constexpr int64_t kColumnSlab = 1024;  // rows that one partial column sum covers

// class_sums (classes x d) += rows order[starts[c]] .. order[starts[c + 1] - 1] of class c. Block
// (x, y): columns of tile x, class y. Sixteen rows are in flight at a time.
template <class Context>
XFERPIPE_HOST_DEVICE inline void class_sums_body(Context& context, const RowsOf& rows, int64_t d,
                                                 const int64_t* order, const int64_t* starts,
                                                 double* class_sums) {
  const int64_t c = context.block_x() * kThreads + context.thread(), y = context.block_y();
  if (c >= d) return;
  double sum = class_sums[y * d + c];
  const int64_t end = starts[y + 1];
  for (int64_t first = starts[y]; first < end; first += 16) {
    float value[16];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      value[i] = first + i < end ? rows.at(order[first + i], c) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (first + i < end) sum += static_cast<double>(value[i]);
    }
  }
  class_sums[y * d + c] = sum;
}

// partial (slabs x d) = sums of each column over kColumnSlab rows. Block (x, y): columns of tile x,
// slab y.
template <class Context>
XFERPIPE_HOST_DEVICE inline void column_slabs_body(Context& context, const RowsOf& rows, int64_t d,
                                                   double* partial) {
  const int64_t c = context.block_x() * kThreads + context.thread(), y = context.block_y();
  if (c >= d) return;
  const int64_t first = y * kColumnSlab;
  const int64_t end = first + kColumnSlab < rows.rows ? first + kColumnSlab : rows.rows;
  double sum = 0.0;
  for (int64_t i = first; i < end; ++i) sum += static_cast<double>(rows.at(i, c));
  partial[y * d + c] = sum;
}

template <class Context>
XFERPIPE_HOST_DEVICE inline void add_slabs_body(Context& context, const double* partial,
                                                int64_t slabs, int64_t d, double* sums) {
  const int64_t c = context.block_x() * kThreads + context.thread();
  if (c >= d) return;
  double sum = sums[c];
  for (int64_t y = 0; y < slabs; ++y) sum += partial[y * d + c];
  sums[c] = sum;
}

// Of the columns of tile x: moments[2 x] = sum of squared class sums, moments[2 x + 1] = sum of
// squared totals.
template <class Context>
XFERPIPE_HOST_DEVICE inline void moments_body(Context& context, const double* class_sums,
                                              int64_t classes, int64_t d, double* moments,
                                              double* shared) {
  const int64_t c = context.block_x() * kThreads + context.thread();
  double total = 0.0, square = 0.0;
  for (int64_t y = 0; c < d && y < classes; ++y) {
    const double value = class_sums[y * d + c];
    total += value;
    square += value * value;
  }
  square = block_sum(context, square, shared);
  total = block_sum(context, total * total, shared);
  if (context.thread() == 0) {
    moments[2 * context.block_x()] = square;
    moments[2 * context.block_x() + 1] = total;
  }
}

// One block: the correlation from the parts of its five sums.
template <class Context>
XFERPIPE_HOST_DEVICE inline void correlation_body(Context& context, const double* squares,
                                                  int64_t square_count, const double* moments,
                                                  int64_t moment_count, const int64_t* class_counts,
                                                  int64_t classes, double* out, double* shared) {
  const int thread = context.thread();
  double sum[5] = {};
  for (int64_t i = thread; i < classes; i += kThreads) {
    const double count = static_cast<double>(class_counts[i]);
    sum[0] += count;
    sum[4] += count * count;
  }
  for (int64_t i = thread; i < square_count; i += kThreads) sum[1] += squares[i];
  for (int64_t i = thread; i < moment_count; i += kThreads) {
    sum[2] += moments[2 * i + 1];
    sum[3] += moments[2 * i];
  }
#pragma unroll
  for (int s = 0; s < 5; ++s) sum[s] = block_sum(context, sum[s], shared);
  if (thread == 0) *out = label_correlation_value({sum[0], sum[1], sum[2], sum[3], sum[4]});
}

}  // namespace xferpipe::cuda
