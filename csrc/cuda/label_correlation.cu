#include "label_correlation.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 4)
class_sums_kernel(int64_t width, Rows rows, const int64_t* order, const int64_t* starts,
                  double* class_sums, int* largest) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  class_sums_body(context, rows, order, starts, class_sums, largest,
                  reinterpret_cast<double*>(shared));
}

const char* class_sums(const Matrix& features, const int64_t* order, const int64_t* starts,
                       int64_t classes, double* sums, int* largest, void* stream) {
  return launch(class_sums_kernel, up(features.columns, 32), classes, kClassSumBytes, stream,
                rows_of(features), order, starts, sums, largest);
}

}  // namespace xferpipe::cuda
