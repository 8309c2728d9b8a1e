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

XFERPIPE_KERNEL(kThreads, 2)
class_moments_kernel(int64_t width, const double* sums, const int64_t* starts, int64_t classes,
                     int64_t d, int64_t n, double* mean, double* partial) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  class_moments_body(context, sums, starts, classes, d, n, mean, partial,
                     reinterpret_cast<double*>(shared));
}

XFERPIPE_KERNEL(kThreads, 1)
correlation_kernel(int64_t width, CorrelationParts parts, double* out) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  correlation_body(context, parts, out, reinterpret_cast<double*>(shared));
}

const char* class_sums(const Matrix& features, const int64_t* order, const int64_t* starts,
                       int64_t classes, double* sums, int* largest, void* stream) {
  return launch(class_sums_kernel, up(features.columns, 32), classes, kClassSumBytes, stream,
                rows_of(features), order, starts, sums, largest);
}

int64_t mean_tiles(int64_t d) { return up(d, kThreads); }

const char* class_moments(const double* sums, const int64_t* starts, int64_t classes, int64_t d,
                          int64_t n, double* mean, double* partial, void* stream) {
  return launch(class_moments_kernel, mean_tiles(d), 1, 8 * kThreads, stream, sums, starts, classes,
                d, n, mean, partial);
}

const char* correlation(const double* class_partial, int64_t class_tiles,
                        const double* gram_partial, int64_t gram_tiles, const int64_t* starts,
                        int64_t classes, int64_t n, bool raw, const float* power,
                        const double* along, double* out, void* stream) {
  const CorrelationParts parts = {class_partial, class_tiles, gram_partial, gram_tiles, starts,
                                  classes,       n,           raw,          power,      along};
  return launch(correlation_kernel, 1, 1, 8 * kThreads, stream, parts, out);
}

}  // namespace xferpipe::cuda
