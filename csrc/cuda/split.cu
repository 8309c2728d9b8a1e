#include "split.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 4)
split_kernel(int64_t width, Rows rows, RowChanges changes, SplitTarget target, bool aligned_in,
             bool aligned_out) {
  DeviceContext context{width};
  split_body(context, rows, changes, target, aligned_in, aligned_out);
}

XFERPIPE_KERNEL(kThreads, 4)
scale_kernel(int64_t width, const float* largest, int64_t count, float* scale) {
  DeviceContext context{width};
  scale_body(context, largest, count, scale);
}

const char* split(const Matrix& matrix, const RowChanges& changes, const SplitTarget& target,
                  void* stream) {
  if (target.columns < 1) return nullptr;
  const SplitShape shape = split_shape(target.columns);
  const bool aligned_out = reinterpret_cast<uintptr_t>(target.out) % 16 == 0 &&
                           target.row_stride % kOctet == 0 && target.plane_stride % kOctet == 0;
  return launch(split_kernel, up(target.rows, static_cast<int64_t>(shape.rounds) * shape.rows_at_once),
                1, 0, stream, rows_of(matrix), changes, target, aligned(matrix), aligned_out);
}

const char* float16_scale(const float* largest, int64_t count, float* scale, void* stream) {
  return launch(scale_kernel, up(count, kThreads), 1, 0, stream, largest, count, scale);
}

}  // namespace xferpipe::cuda
