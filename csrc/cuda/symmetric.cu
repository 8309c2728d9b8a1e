// label_correlation and gradient_gram: one kernel, two ways to stride.
#include "symmetric.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

template <bool kSplit, class Items>
XFERPIPE_KERNEL(kThreads, 1)
symmetric_kernel(int64_t width, Items items, int64_t depth, int64_t part_steps,
                 SymmetricTarget target) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  symmetric_body<kSplit>(context, items, depth, part_steps, width, target, shared);
}

XFERPIPE_KERNEL(kThreads, 1)
symmetric_combine_kernel(int64_t width, int64_t size, int64_t count, const double* parts,
                         double* gram) {
  DeviceContext context{width};
  combine_body(context, size, width, count, parts, gram);
}

XFERPIPE_KERNEL(kThreads, 2)
gram_squares_kernel(int64_t width, double* gram, int64_t size, double* squares) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  gram_squares_body(context, gram, size, squares, reinterpret_cast<double*>(shared));
}

int64_t symmetric_tiles(int64_t size) {
  const int64_t side = up(size, kTile);
  return side * (side + 1) / 2;
}

namespace {
template <bool kSplit, class Items>
const char* run(const Items& items, int64_t depth, int64_t parts, double* gram, double* part_sums,
                double* squares, void* stream) {
  const int64_t tiles = symmetric_tiles(items.rows);
  const int64_t part_steps = up(up(depth, parts), kSlabSteps) * kSlabSteps;
  const SymmetricTarget target = {parts > 1 ? nullptr : gram, parts > 1 ? part_sums : nullptr,
                                  squares};
  const char* error = launch(symmetric_kernel<kSplit, Items>, tiles, parts, kSymmetricBytes, stream,
                             items, depth, part_steps, target);
  if (error || parts <= 1) return error;
  return launch(symmetric_combine_kernel, tiles, 1, 0, stream, items.rows, parts,
                static_cast<const double*>(part_sums), gram);
}
}  // namespace

const char* symmetric(const Matrix& matrix, bool of_columns, const double* shift, int64_t parts,
                      double* gram, double* part_sums, double* squares, void* stream) {
  // What is left after a shift is no bfloat16 number any more.
  const bool split = !matrix.bfloat16 || shift;
  if (!of_columns) {
    RowsOf items = rows_of(matrix);
    items.shift = shift;
    const auto go = split ? run<true, RowsOf> : run<false, RowsOf>;
    return go(items, matrix.columns, parts, gram, part_sums, squares, stream);
  }
  if (!matrix.bfloat16) {
    const ColumnsOf<false> items = {matrix.data, matrix.stride, matrix.columns, shift};
    return run<true>(items, matrix.rows, parts, gram, part_sums, squares, stream);
  }
  const ColumnsOf<true> items = {matrix.data, matrix.stride, matrix.columns, shift};
  const auto go = split ? run<true, ColumnsOf<true>> : run<false, ColumnsOf<true>>;
  return go(items, matrix.rows, parts, gram, part_sums, squares, stream);
}

const char* gram_squares(double* gram, int64_t size, double* squares, void* stream) {
  return launch(gram_squares_kernel, symmetric_tiles(size), 1, 8 * kThreads, stream, gram, size,
                squares);
}

}  // namespace xferpipe::cuda
