#include "gradient_sketch.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

constexpr int kSketchBytes = 160 * 1024;  // shared memory that sm_80 and sm_90 both have

XFERPIPE_KERNEL(kThreads, 4)
sparse_hash_kernel(int64_t width, uint64_t seed, int64_t first, int64_t count, uint32_t buckets,
                   uint32_t* table, uint8_t* turns) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  hash_body(context, seed, first, count, buckets, table, turns,
            reinterpret_cast<uint32_t*>(shared));
}

XFERPIPE_KERNEL(kThreads, 1)
sparse_kernel(int64_t width, RowsOf gradients, int64_t p, int64_t k, const uint32_t* table,
              const uint8_t* turns, int warps, int range, float* out) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  sparse_body(context, gradients, p, k, table, turns, warps, range, out, shared);
}

XFERPIPE_KERNEL(kThreads, 4)
sign_words_kernel(int64_t width, uint64_t seed, int64_t block, int64_t blocks, uint32_t* out) {
  DeviceContext context{width};
  sign_words_body(context, seed, block, blocks, out);
}

XFERPIPE_KERNEL(kThreads, 4)
fold_kernel(int64_t width, RowsOf gradients, int64_t p, int64_t size, int64_t first,
            const uint32_t* signs, float* folded) {
  DeviceContext context{width};
  fold_body(context, gradients, p, size, first, signs, folded);
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

const char* gradient_sketch_hash(uint64_t seed, int64_t first, int64_t count, int64_t k,
                                 uint32_t* table, uint8_t* turns, void* stream) {
  return launch(sparse_hash_kernel, up(count, kThreads), 1, 4 * kThreads, stream, seed, first,
                count, static_cast<uint32_t>(k), table, turns);
}

const char* gradient_sketch_sparse(const Matrix& gradients, int64_t k, const uint32_t* table,
                                   const uint8_t* turns, float* out, void* stream) {
  constexpr int64_t kFloats = kSketchBytes / 4;
  const int64_t passes = up(k, kFloats), range = up(k, passes);
  const int warps = static_cast<int>(std::min<int64_t>(kThreads / 32, kFloats / range));
  return launch(sparse_kernel, up(gradients.rows, warps), passes,
                static_cast<int>(4 * range) * warps, stream, rows_of(gradients), gradients.columns,
                k, table, turns, warps, static_cast<int>(range), out);
}

const char* gradient_sketch_signs(uint64_t seed, int64_t block, int64_t blocks, uint32_t* out,
                                  void* stream) {
  return launch(sign_words_kernel, up(blocks, kThreads), 1, 0, stream, seed, block, blocks, out);
}

const char* gradient_sketch_fold(const Matrix& gradients, int64_t size, int64_t first,
                                 const uint32_t* signs, float* folded, void* stream) {
  return launch(fold_kernel, up(size, kThreads), gradients.rows, 0, stream, rows_of(gradients),
                gradients.columns, size, first, signs, folded);
}

const char* gradient_sketch_hadamard(float* values, int64_t n, int64_t size, void* stream) {
  const int64_t run = std::min<int64_t>(size, 1 << 15);
  const char* error = launch(hadamard_kernel, n * (size / run), 1, static_cast<int>(4 * run),
                             stream, values, static_cast<int>(run));
  for (int64_t half = run; half < size && !error; half *= 2) {
    error = launch(butterfly_kernel, up(n * size / 2, kThreads), 1, 0, stream, values, n * size,
                   half);
  }
  return error;
}

}  // namespace xferpipe::cuda
