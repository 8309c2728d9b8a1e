// label_correlation and gradient_gram: one kernel, two ways to stride.
#include "symmetric.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

template <bool kSplit>
__global__ void __launch_bounds__(kThreads, 1)
    symmetric_kernel(Operand items, int64_t depth, double* gram) {
  extern __shared__ float shared[];
  DeviceContext context;
  symmetric_body<kSplit>(context, items, depth, gram, shared);
}

__global__ void __launch_bounds__(kThreads)
    class_sums_kernel(Operand rows, int64_t d, const int64_t* labels, double* class_sums) {
  DeviceContext context;
  class_sums_body(context, rows, d, labels, class_sums);
}

namespace {
const char* symmetric(const Operand& items, int64_t depth, double* gram, void* stream) {
  const dim3 grid(tiles(items.rows, kTile), tiles(items.rows, kTile));
  const auto kernel = items.bfloat16 ? symmetric_kernel<false> : symmetric_kernel<true>;
  return launch(kernel, grid, kSharedBytes, stream, items, depth, gram);
}
}  // namespace

const char* label_correlation_columns(const Matrix& features, const int64_t* labels, double* gram,
                                      double* class_sums, void* stream) {
  const char* error = launch(class_sums_kernel, dim3(tiles(features.columns, kThreads)), 0, stream,
                             rows_of(features), features.columns, labels, class_sums);
  return error ? error : symmetric(columns_of(features), features.rows, gram, stream);
}

const char* gradient_gram(const Matrix& gradients, double* gram, void* stream) {
  return symmetric(rows_of(gradients), gradients.columns, gram, stream);
}

}  // namespace xferpipe::cuda
