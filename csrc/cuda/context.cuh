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
  __device__ uint32_t ballot(bool vote) const { return __ballot_sync(0xffffffffu, vote); }
  // Integer sums do not depend on the order of the additions.
  __device__ int add_shared(int* into, int value) const { return atomicAdd(into, value); }
  __device__ void add(int64_t* into, int64_t value) const {
    atomicAdd(reinterpret_cast<unsigned long long*>(into), static_cast<unsigned long long>(value));
  }
};
#endif

}  // namespace xferpipe::cuda
