// What a kernel body knows of its place: thread and block number, barriers, votes. Bodies are
// templates over it, so that the tests run them on a CPU (tests/cuda/shim).
#pragma once
#include <cstdint>

#include "../core/ranking.h"

namespace xferpipe::cuda {

constexpr int kThreads = 256;

#if defined(__CUDACC__)
// Blocks are numbered in one dimension, `width` of them to a row: a grid's second dimension ends at
// 65,535.
struct DeviceContext {
  int64_t width;

  __device__ int thread() const { return threadIdx.x; }
  __device__ int64_t block_x() const { return blockIdx.x % width; }
  __device__ int64_t block_y() const { return blockIdx.x / width; }
  __device__ void sync() const { __syncthreads(); }
  __device__ void warp_sync() const { __syncwarp(); }
  // A barrier; whether any thread of the block says so.
  __device__ bool any(bool vote) const { return __syncthreads_or(vote); }
  // Integer sums and maxima do not depend on the order.
  __device__ int add_shared(int* into, int value) const { return atomicAdd(into, value); }
  __device__ void largest(int* into, int value) const { atomicMax(into, value); }
  __device__ void add(int64_t* into, int64_t value) const {
    atomicAdd(reinterpret_cast<unsigned long long*>(into), static_cast<unsigned long long>(value));
  }
};
#endif

// The sum of one value per thread, for all threads, in one fixed order. `shared`: kThreads doubles.
template <class Context>
XFERPIPE_HOST_DEVICE inline double block_sum(Context& context, double value, double* shared) {
  const int thread = context.thread();
  context.sync();
  shared[thread] = value;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    context.sync();
    if (thread < half) shared[thread] += shared[thread + half];
  }
  context.sync();
  return shared[0];
}

}  // namespace xferpipe::cuda
