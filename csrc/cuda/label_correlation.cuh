// Bodies of what label_correlation needs besides the Gram matrix. Every sum has one owner and one
// order of additions.
#pragma once
#include <cmath>

#include "rows.cuh"

namespace xferpipe::cuda {

constexpr int kRowsAhead = 16;  // rows in flight
constexpr int kWarps = kThreads / 32;
constexpr int kClassSumBytes = kThreads * 12;  // a sum and a magnitude of each thread

// class_sums (classes x d) = sum of rows order[starts[c]] .. order[starts[c + 1] - 1] of class c. Block
// (x, y): 32 columns, class y; every eighth row to a warp. `largest` becomes the bits of the largest
// magnitude.
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
  auto* magnitudes = reinterpret_cast<uint32_t*>(shared + kThreads);
  shared[context.thread()] = sum;
  magnitudes[context.thread()] = most;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    context.sync();
    if (context.thread() >= half) continue;
    const uint32_t other = magnitudes[context.thread() + half];
    if (other > magnitudes[context.thread()]) magnitudes[context.thread()] = other;
  }
  if (context.thread() == 0) context.largest(largest, static_cast<int>(magnitudes[0]));
  if (warp != 0 || c >= rows.columns) return;
  for (int other = 1; other < kWarps; ++other) sum += shared[other * 32 + lane];
  class_sums[y * rows.columns + c] = sum;
}

// Of the columns of tile x: mean (d), and partial (tiles, 3) = sum over classes of the squares of the
// centred sums, of count times mean . centred sum, and |mean|^2.
template <class Context>
XFERPIPE_HOST_DEVICE inline void class_moments_body(Context& context, const double* sums,
                                                    const int64_t* starts, int64_t classes,
                                                    int64_t d, int64_t n, double* mean,
                                                    double* partial, double* shared) {
  const int64_t c = context.block_x() * kThreads + context.thread();
  double total = 0.0, square = 0.0, along = 0.0;
  for (int64_t y = 0; c < d && y < classes; ++y) total += sums[y * d + c];
  const double own = total / static_cast<double>(n);
  for (int64_t y = 0; c < d && y < classes; ++y) {
    const double count = static_cast<double>(starts[y + 1] - starts[y]);
    const double centred = sums[y * d + c] - count * own;
    square += centred * centred;
    along += count * own * centred;
  }
  if (c < d) mean[c] = own;
  square = block_sum(context, square, shared);
  along = block_sum(context, along, shared);
  const double length = block_sum(context, own * own, shared);
  if (context.thread() == 0) {
    partial[3 * context.block_x()] = square;
    partial[3 * context.block_x() + 1] = along;
    partial[3 * context.block_x() + 2] = length;
  }
}

struct CorrelationParts {
  const double* classes;  // (class_tiles, 3): class_moments_body
  int64_t class_tiles;
  const double* gram;     // (gram_tiles, 2): moments_body
  int64_t gram_tiles;
  const int64_t* starts;  // (class_count + 1)
  int64_t class_count, n;
  bool raw;
  const float* power;
  const double* along;  // in place of the second sum of gram, where it is not null
};

// One block: the correlation; see the formula in docs/kernels.md. NaN where a side is constant.
template <class Context>
XFERPIPE_HOST_DEVICE inline void correlation_body(Context& context, const CorrelationParts& parts,
                                                  double* out, double* shared) {
  const int thread = context.thread();
  double sum[6] = {};  // class square, class along, |mean|^2, |G|^2, m G m, squared counts
  for (int64_t i = thread; i < parts.class_tiles; i += kThreads) {
    for (int s = 0; s < 3; ++s) sum[s] += parts.classes[3 * i + s];
  }
  for (int64_t i = thread; i < parts.gram_tiles; i += kThreads) {
    sum[3] += parts.gram[2 * i];
    sum[4] += parts.gram[2 * i + 1];
  }
  for (int64_t i = thread; i < parts.class_count; i += kThreads) {
    const double count = static_cast<double>(parts.starts[i + 1] - parts.starts[i]);
    sum[5] += count * count;
  }
  for (int s = 0; s < 6; ++s) sum[s] = block_sum(context, sum[s], shared);
  if (thread != 0) return;
  const double power = static_cast<double>(*parts.power);
  const double n = static_cast<double>(parts.n), square = power * power;
  double features = sum[3] / (square * square), numerator = sum[0], whole = features;
  if (parts.raw) {
    features += 2.0 * n * (parts.along ? *parts.along : sum[4] / square);
    numerator += 2.0 * sum[1];
    whole = features + n * n * sum[2] * sum[2];
  }
  const double labels = sum[5] - sum[5] * (sum[5] / (n * n));
  // Rows that are all alike are centred to nothing, but for the rounding of their float64 mean.
  const bool is_defined = features > whole * 1e-28 && labels > sum[5] * 1e-13;
  *out = is_defined ? numerator / (sqrt(features) * sqrt(labels)) : NAN;
}

}  // namespace xferpipe::cuda
