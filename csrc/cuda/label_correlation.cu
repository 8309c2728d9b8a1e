#include "label_correlation.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 3)
class_sums_kernel(int64_t width, RowsOf rows, int64_t d, const int64_t* order,
                  const int64_t* starts, double* class_sums) {
  DeviceContext context{width};
  class_sums_body(context, rows, d, order, starts, class_sums);
}

XFERPIPE_KERNEL(kThreads, 4)
column_slabs_kernel(int64_t width, RowsOf rows, int64_t d, double* partial) {
  DeviceContext context{width};
  column_slabs_body(context, rows, d, partial);
}

XFERPIPE_KERNEL(kThreads, 4)
add_slabs_kernel(int64_t width, const double* partial, int64_t slabs, int64_t d, double* sums) {
  DeviceContext context{width};
  add_slabs_body(context, partial, slabs, d, sums);
}

XFERPIPE_KERNEL(kThreads, 4)
moments_kernel(int64_t width, const double* class_sums, int64_t classes, int64_t d,
               double* moments) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  moments_body(context, class_sums, classes, d, moments, reinterpret_cast<double*>(shared));
}

XFERPIPE_KERNEL(kThreads, 1)
correlation_kernel(int64_t width, const double* squares, int64_t square_count,
                   const double* moments, int64_t moment_count, const int64_t* class_counts,
                   int64_t classes, double* out) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  correlation_body(context, squares, square_count, moments, moment_count, class_counts, classes,
                   out, reinterpret_cast<double*>(shared));
}

const char* class_sums(const Matrix& features, const double* shift, const int64_t* order,
                       const int64_t* starts, int64_t classes, double* sums, void* stream) {
  RowsOf rows = rows_of(features);
  rows.shift = shift;
  return launch(class_sums_kernel, up(features.columns, kThreads), classes, 0, stream, rows,
                features.columns, order, starts, sums);
}

const char* column_sums(const Matrix& features, double* partial, double* sums, void* stream) {
  const int64_t slabs = up(features.rows, kColumnSlab), tiles = up(features.columns, kThreads);
  const char* error = launch(column_slabs_kernel, tiles, slabs, 0, stream, rows_of(features),
                             features.columns, partial);
  if (error) return error;
  return launch(add_slabs_kernel, tiles, 1, 0, stream, static_cast<const double*>(partial), slabs,
                features.columns, sums);
}

const char* correlation(const double* squares, int64_t square_count, const double* class_sums,
                        int64_t classes, int64_t d, const int64_t* class_counts, double* moments,
                        double* out, void* stream) {
  const int64_t tiles = up(d, kThreads);
  const char* error = launch(moments_kernel, tiles, 1, 8 * kThreads, stream, class_sums, classes,
                             d, moments);
  if (error) return error;
  return launch(correlation_kernel, 1, 1, 8 * kThreads, stream, squares, square_count,
                static_cast<const double*>(moments), tiles, class_counts, classes, out);
}

}  // namespace xferpipe::cuda
