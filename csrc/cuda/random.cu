#include "random.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 4)
signs_kernel(int64_t width, RandomMatrix matrix, Stream stream, bool float16, uint16_t* out) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  signs_body(context, matrix, stream, float16, out, reinterpret_cast<uint32_t*>(shared));
}

XFERPIPE_KERNEL(kThreads, 2)
normals_kernel(int64_t width, RandomMatrix matrix, float* out) {
  DeviceContext context{width};
  normals_body(context, matrix, out);
}

const char* random_signs(uint64_t seed, int64_t which, int64_t rows, int64_t first, int64_t columns,
                         int64_t total, bool float16, uint16_t* out, void* stream) {
  return launch(signs_kernel, up(rows * up(columns, 128), kThreads), 1, kSignBytes, stream,
                RandomMatrix{seed, rows, first, columns, total}, static_cast<Stream>(which),
                float16, out);
}

const char* random_normals(uint64_t seed, int64_t rows, int64_t first, int64_t columns,
                           int64_t total, float* out, void* stream) {
  return launch(normals_kernel, up(rows * up(columns, 4), kThreads), 1, 0, stream,
                RandomMatrix{seed, rows, first, columns, total}, out);
}

}  // namespace xferpipe::cuda
