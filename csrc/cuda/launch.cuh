// Helpers of the .cu files.
#pragma once
#include <cuda_runtime.h>

#include "launch.h"
#include "tile.cuh"

namespace xferpipe::cuda {

inline Operand rows_of(const Matrix& m) {
  return {m.data, m.stride, 1, m.rows, nullptr, m.bfloat16};
}
inline Operand columns_of(const Matrix& m) {
  return {m.data, 1, m.stride, m.columns, nullptr, m.bfloat16};
}
inline unsigned tiles(int64_t count, int64_t size) {
  return static_cast<unsigned>((count + size - 1) / size);
}

// Checked after each launch. Raising the limit of shared memory is per kernel and idempotent.
template <class Kernel, class... Arguments>
const char* launch(Kernel kernel, dim3 grid, int shared_bytes, void* stream,
                   Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0) return nullptr;
  if (shared_bytes > 48 * 1024) {
    const cudaError_t raised =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (raised != cudaSuccess) return cudaGetErrorString(raised);
  }
  kernel<<<grid, kThreads, shared_bytes, static_cast<cudaStream_t>(stream)>>>(arguments...);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace xferpipe::cuda
