// Body of the class sums of label_correlation. Every sum has one owner and one order of additions.
#pragma once
#include "split.cuh"

namespace xferpipe::cuda {

constexpr int kRowsAhead = 16;  // rows in flight
constexpr int kWarps = kThreads / 32;
constexpr int kClassSumBytes = kThreads * 8;

// class_sums (classes x d) = sum of rows order[starts[c]] .. order[starts[c + 1] - 1] of class c. Block
// (x, y): 32 columns, class y; every eighth row to a warp. `largest`, where it is not null, becomes
// the bits of the largest magnitude.
template <class Context>
XFERPIPE_HOST_DEVICE inline void class_sums_body(Context& context, const Rows& rows,
                                                 const int64_t* order, const int64_t* starts,
                                                 double* class_sums, int* largest, double* shared) {
  const int warp = context.thread() / 32, lane = context.thread() % 32;
  const int64_t c = context.block_x() * 32 + lane, y = context.block_y();
  const int64_t end = c < rows.columns ? starts[y + 1] : 0;
  double sum = 0.0;
  uint32_t most = 0;
  for (int64_t first = starts[y] + warp; first < end; first += kWarps * kRowsAhead) {
    float value[kRowsAhead];
#pragma unroll
    for (int i = 0; i < kRowsAhead; ++i) {
      const int64_t at = first + i * kWarps;
      value[i] = at < end ? rows.at(order[at], c) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kRowsAhead; ++i) {
      sum += static_cast<double>(value[i]);
      const uint32_t magnitude = bits_of(value[i]) & 0x7fffffffu;
      most = magnitude > most ? magnitude : most;
    }
  }
  shared[context.thread()] = sum;
  if (largest && most) context.largest(largest, static_cast<int>(most));
  context.sync();
  if (warp != 0 || c >= rows.columns) return;
  for (int other = 1; other < kWarps; ++other) sum += shared[other * 32 + lane];
  class_sums[y * rows.columns + c] = sum;
}

}  // namespace xferpipe::cuda
