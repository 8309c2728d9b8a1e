#include "split.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 4)
split_kernel(int64_t width, Rows rows, const double* shift, const float* scale, SplitTarget target,
             bool aligned_in, bool aligned_out) {
  DeviceContext context{width};
  split_body(context, rows, shift, scale, target, aligned_in, aligned_out);
}

const char* split(const Matrix& matrix, const double* shift, const float* scale, uint16_t* out,
                  int64_t planes, int64_t rows, int64_t columns, int64_t row_stride,
                  int64_t plane_stride, int64_t lows, bool float16, void* stream) {
  const SplitTarget target = {out, rows, columns, row_stride, plane_stride,
                              static_cast<int>(planes), static_cast<int>(lows), float16};
  if (columns < 1) return nullptr;
  const SplitShape shape = split_shape(columns);
  return launch(split_kernel, up(rows, static_cast<int64_t>(shape.rounds) * shape.rows_at_once), 1,
                0, stream, rows_of(matrix), shift, scale, target, aligned(matrix),
                reinterpret_cast<uintptr_t>(out) % 16 == 0 && row_stride % kOctet == 0 &&
                    plane_stride % kOctet == 0);
}

}  // namespace xferpipe::cuda
