#include "label_correlation.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 2)
class_sums_kernel(int64_t width, Rows rows, const double* shift, const int64_t* order,
                  const int64_t* starts, double* class_sums) {
  DeviceContext context{width};
  class_sums_body(context, rows, shift, order, starts, class_sums);
}

XFERPIPE_KERNEL(kThreads, 4)
column_slabs_kernel(int64_t width, Rows rows, double* partial) {
  DeviceContext context{width};
  column_slabs_body(context, rows, partial);
}

XFERPIPE_KERNEL(kThreads, 4)
add_slabs_kernel(int64_t width, const double* partial, int64_t slabs, int64_t d, double* sums) {
  DeviceContext context{width};
  add_slabs_body(context, partial, slabs, d, sums);
}

const char* class_sums(const Matrix& features, const double* shift, const int64_t* order,
                       const int64_t* starts, int64_t classes, double* sums, void* stream) {
  return launch(class_sums_kernel, up(features.columns, kThreads), classes, 0, stream,
                rows_of(features), shift, order, starts, sums);
}

int64_t column_slabs(int64_t rows) { return up(rows, kColumnSlab); }

const char* column_sums(const Matrix& features, double* partial, double* sums, void* stream) {
  const int64_t slabs = column_slabs(features.rows), tiles = up(features.columns, kThreads);
  const char* error =
      launch(column_slabs_kernel, tiles, slabs, 0, stream, rows_of(features), partial);
  if (error) return error;
  return launch(add_slabs_kernel, tiles, 1, 0, stream, static_cast<const double*>(partial), slabs,
                features.columns, sums);
}

}  // namespace xferpipe::cuda
