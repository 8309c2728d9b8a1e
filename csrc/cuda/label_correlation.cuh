// Bodies of the sums that label_correlation needs besides the Gram matrix. Every sum has one owner
// and one order of additions.
#pragma once
#include "rows.cuh"

namespace xferpipe::cuda {

constexpr int64_t kColumnSlab = 128;  // rows that one partial column sum covers
constexpr int kRowsAhead = 16;        // rows in flight

// class_sums (classes x d) += rows order[starts[c]] .. order[starts[c + 1] - 1] of class c. Block
// (x, y): columns of tile x, class y.
template <class Context>
XFERPIPE_HOST_DEVICE inline void class_sums_body(Context& context, const Rows& rows,
                                                 const double* shift, const int64_t* order,
                                                 const int64_t* starts, double* class_sums) {
  const int64_t c = context.block_x() * kThreads + context.thread(), y = context.block_y();
  if (c >= rows.columns) return;
  double sum = class_sums[y * rows.columns + c];
  const int64_t end = starts[y + 1];
  for (int64_t first = starts[y]; first < end; first += kRowsAhead) {
    float value[kRowsAhead];
#pragma unroll
    for (int i = 0; i < kRowsAhead; ++i) {
      value[i] = first + i < end ? rows.at(order[first + i], c) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kRowsAhead; ++i) {
      if (first + i < end) sum += static_cast<double>(shifted(value[i], shift, c));
    }
  }
  class_sums[y * rows.columns + c] = sum;
}

// partial (slabs x d) = sums of each column over kColumnSlab rows. Block (x, y): columns of tile x,
// slab y.
template <class Context>
XFERPIPE_HOST_DEVICE inline void column_slabs_body(Context& context, const Rows& rows,
                                                   double* partial) {
  const int64_t c = context.block_x() * kThreads + context.thread(), y = context.block_y();
  if (c >= rows.columns) return;
  const int64_t first = y * kColumnSlab;
  const int64_t end = first + kColumnSlab < rows.rows ? first + kColumnSlab : rows.rows;
  double sum = 0.0;
#pragma unroll kRowsAhead
  for (int64_t i = first; i < end; ++i) sum += static_cast<double>(rows.at(i, c));
  partial[y * rows.columns + c] = sum;
}

template <class Context>
XFERPIPE_HOST_DEVICE inline void add_slabs_body(Context& context, const double* partial,
                                                int64_t slabs, int64_t d, double* sums) {
  const int64_t c = context.block_x() * kThreads + context.thread();
  if (c >= d) return;
  double sum = sums[c];
#pragma unroll kRowsAhead
  for (int64_t y = 0; y < slabs; ++y) sum += partial[y * d + c];
  sums[c] = sum;
}

}  // namespace xferpipe::cuda
