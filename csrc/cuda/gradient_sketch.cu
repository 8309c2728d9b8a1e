#include "gradient_sketch.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

__global__ void __launch_bounds__(kThreads)
    sparse_hash_kernel(uint64_t seed, int64_t first, int64_t count, uint32_t buckets,
                       uint32_t* table) {
  DeviceContext context;
  hash_body(context, seed, first, count, buckets, table);
}

__global__ void __launch_bounds__(kThreads)
    sparse_gather_kernel(Operand gradients, int64_t k, const uint32_t* table, const int64_t* starts,
                         const int64_t* order, float* out) {
  DeviceContext context;
  gather_body(context, gradients, k, table, starts, order, out);
}

const char* gradient_sketch_hash(uint64_t seed, int64_t first, int64_t count, int64_t k,
                                 uint32_t* table, void* stream) {
  return launch(sparse_hash_kernel, dim3(tiles(count, kThreads)), 0, stream, seed, first, count,
                static_cast<uint32_t>(k), table);
}

const char* gradient_sketch_gather(const Matrix& gradients, int64_t k, const uint32_t* table,
                                   const int64_t* starts, const int64_t* order, float* out,
                                   void* stream) {
  const dim3 grid(tiles(k, kThreads), static_cast<unsigned>(gradients.rows));
  return launch(sparse_gather_kernel, grid, 0, stream, rows_of(gradients), k, table, starts, order,
                out);
}

}  // namespace xferpipe::cuda
