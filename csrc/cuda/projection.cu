#include "projection.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

template <bool kSplitA, bool kSplitB, class Rows, class Random>
XFERPIPE_KERNEL(kThreads, 1)
project_kernel(int64_t width, Rows rows, Random random, int64_t columns, int64_t begin,
               int64_t end, float scale, Target target) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  project_body<kSplitA, kSplitB>(context, rows, random, columns, begin, end, scale, target, shared);
}

XFERPIPE_KERNEL(kThreads, 1)
outer_kernel(int64_t width, OuterJob job, int64_t column_tiles, float* out) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  outer_body(context, job, column_tiles, out, shared);
}

const char* gradient_sketch_dense(const Matrix& gradients, int64_t k, uint64_t seed, int64_t first,
                                  int64_t p_total, bool normal, float scale, float* out,
                                  void* stream) {
  RowsOf rows = rows_of(gradients);
  // The depth counts coordinates of the whole gradient; this piece starts at `first`.
  const int64_t bytes = gradients.bfloat16 ? 2 : 4;
  rows.data = reinterpret_cast<const void*>(reinterpret_cast<intptr_t>(gradients.data) -
                                            first * bytes);
  rows.begin = first;
  const Target target = {out, 1, k, 0, 1};
  const int64_t end = first + gradients.columns, width = up(k, kTile);
  const int64_t height = up(gradients.rows, kTile);
  if (normal) {
    return launch(project_kernel<true, true, RowsOf, NormalRows>, width, height, 4 * kTileFloats, stream,
                  rows, NormalRows{seed, p_total}, k, first, end, scale, target);
  }
  const auto kernel = gradients.bfloat16 ? project_kernel<false, false, RowsOf, SignRows>
                                         : project_kernel<true, false, RowsOf, SignRows>;
  return launch(kernel, width, height, 4 * kTileFloats, stream, rows,
                SignRows{seed, Stream::kDense, p_total}, k, first, end, scale, target);
}

// out (n, k, positions) += signs (k x depth) times each sample's factor (depth x positions).
const char* gradient_sketch_factor(const float* factor, int64_t n, int64_t depth,
                                   int64_t positions, int64_t k, uint64_t seed, bool left,
                                   float* out, void* stream) {
  ColumnsOf<false> rows = {factor, positions, n * positions};
  rows.group = positions;
  rows.group_stride = depth * positions;
  const Target target = {out, positions, k * positions, 1, positions};
  const SignRows signs = {seed, left ? Stream::kLeftFactor : Stream::kRightFactor, depth};
  return launch(project_kernel<true, false, ColumnsOf<false>, SignRows>, up(k, kTile), up(n * positions, kTile),
                4 * kTileFloats, stream, rows, signs, k, int64_t{0}, depth, 1.0f, target);
}

const char* gradient_outer(const float* left, const float* right, int64_t n, int64_t left_rows,
                           int64_t right_rows, int64_t positions, int64_t left_sample,
                           int64_t right_sample, int64_t limit, float scale, float* out,
                           void* stream) {
  const OuterJob job = {left,        right,        left_rows, right_rows, positions,
                        left_sample, right_sample, limit,     scale};
  const int64_t across = up(right_rows, kTile);
  return launch(outer_kernel, up(left_rows, kTile) * across, n, 4 * kTileFloats, stream, job,
                across, out);
}

}  // namespace xferpipe::cuda
