// Helpers of the .cu files. Without nvcc they compile against tests/cuda/shim, which runs a grid on
// the CPU.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>

#include "launch.h"
#include "rows.cuh"

#if defined(__CUDACC__)
#define XFERPIPE_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define XFERPIPE_SHARED(name) extern __shared__ __align__(16) float name[]
#else
#define XFERPIPE_KERNEL(threads, blocks) static void
#define XFERPIPE_SHARED(name) float* name = shim::shared_memory()
#endif

namespace xferpipe::cuda {

inline Rows rows_of(const Matrix& m) { return {m.data, m.stride, m.rows, m.columns, m.bfloat16}; }
// Rows start at multiples of 16 bytes.
inline bool aligned(const Matrix& m) {
  return reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && m.stride % (m.bfloat16 ? 8 : 4) == 0;
}
inline int64_t up(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Launches width x height blocks; the kernel's first argument is the width. Checked after each
// launch. Raising the limit of shared memory is per kernel and idempotent.
template <class Kernel, class... Arguments>
const char* launch(Kernel kernel, int64_t width, int64_t height, int shared_bytes, void* stream,
                   Arguments... arguments) {
  if (width <= 0 || height <= 0) return nullptr;
  if (width > INT32_MAX / height) return "the grid has more than 2^31 blocks: pass smaller blocks";
#if defined(__CUDACC__)
  if (shared_bytes > 48 * 1024) {
    const cudaError_t raised =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (raised != cudaSuccess) {
      cudaGetLastError();  // said here, so not again by the next launch
      return "the device gives a block less shared memory than the kernel takes";
    }
  }
  kernel<<<static_cast<unsigned>(width * height), kThreads, shared_bytes,
           static_cast<cudaStream_t>(stream)>>>(width, arguments...);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
#else
  (void)stream;
  shim::run(width * height, shared_bytes, [&] { kernel(width, arguments...); });
  return nullptr;
#endif
}

}  // namespace xferpipe::cuda
