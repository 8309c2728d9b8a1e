#include "gradient_sketch.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 4)
sparse_hash_kernel(int64_t width, uint64_t seed, int64_t first, int64_t count, uint32_t buckets,
                   uint32_t* table, uint16_t* turns) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  hash_body(context, seed, first, count, buckets, table, turns,
            reinterpret_cast<uint32_t*>(shared));
}

XFERPIPE_KERNEL(kThreads, 1)
sparse_kernel(int64_t width, Rows gradients, int64_t k, const uint32_t* table,
              const uint16_t* turns, int samples, int range, bool aligned, float* out) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  sparse_body(context, gradients, k, table, turns, samples, range, aligned, out, shared);
}

XFERPIPE_KERNEL(kThreads, 4)
sign_words_kernel(int64_t width, uint64_t seed, int64_t block, int64_t blocks, uint32_t* out) {
  DeviceContext context{width};
  sign_words_body(context, seed, block, blocks, out);
}

XFERPIPE_KERNEL(kThreads, 4)
fold_kernel(int64_t width, Rows gradients, int64_t size, int64_t first,
            const uint32_t* signs, float* folded) {
  DeviceContext context{width};
  fold_body(context, gradients, size, first, signs, folded);
}

XFERPIPE_KERNEL(kThreads, 1)
hadamard_kernel(int64_t width, float* values, int run) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  hadamard_body(context, values, run, shared);
}

XFERPIPE_KERNEL(kThreads, 4)
butterfly_kernel(int64_t width, float* values, int64_t count, int64_t half) {
  DeviceContext context{width};
  butterfly_body(context, values, count, half);
}

const char* sparse_hash(uint64_t seed, int64_t first, int64_t count, int64_t k, uint32_t* table,
                        uint16_t* turns, void* stream) {
  return launch(sparse_hash_kernel, up(count, kGroup), 1, 4 * kGroup, stream, seed, first, count,
                static_cast<uint32_t>(k), table, turns);
}

const char* sparse_sketch(const Matrix& gradients, int64_t k, const uint32_t* table,
                          const uint16_t* turns, float* out, int shared_limit, void* stream) {
  const int64_t passes = up(k, shared_limit / 4), range = up(k, passes);
  const int samples = static_cast<int>(std::min<int64_t>(kSamples, shared_limit / (4 * range)));
  return launch(sparse_kernel, up(gradients.rows, samples), passes,
                static_cast<int>(4 * range) * samples, stream, rows_of(gradients), k, table, turns,
                samples, static_cast<int>(range), aligned(gradients) && !gradients.bfloat16, out);
}

const char* sign_words(uint64_t seed, int64_t block, int64_t blocks, uint32_t* out, void* stream) {
  return launch(sign_words_kernel, up(blocks, kThreads), 1, 0, stream, seed, block, blocks, out);
}

const char* fold(const Matrix& gradients, int64_t size, int64_t first, const uint32_t* signs,
                 float* folded, void* stream) {
  return launch(fold_kernel, up(size, kThreads), gradients.rows, 0, stream, rows_of(gradients),
                size, first, signs, folded);
}

const char* hadamard(float* values, int64_t n, int64_t size, int shared_limit, void* stream) {
  int64_t run = 1;
  while (2 * run <= size && 4 * 2 * run <= shared_limit) run *= 2;
  const char* error = launch(hadamard_kernel, n * (size / run), 1, static_cast<int>(4 * run),
                             stream, values, static_cast<int>(run));
  for (int64_t half = run; half < size && !error; half *= 2) {
    error = launch(butterfly_kernel, up(n * size / 2, kThreads), 1, 0, stream, values, n * size,
                   half);
  }
  return error;
}

int shared_memory_limit() {
#if defined(__CUDACC__)
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ==
          cudaSuccess) {
    return bytes;
  }
  return 48 * 1024;  // what every device has
#else
  return shim::kSharedLimit;
#endif
}

}  // namespace xferpipe::cuda
