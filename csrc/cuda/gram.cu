#include "gram.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 4)
add_panel_kernel(int64_t width, Panel panel, double* gram, double* cross) {
  DeviceContext context{width};
  add_panel_body(context, panel, gram, cross);
}

XFERPIPE_KERNEL(kThreads, 4)
moments_kernel(int64_t width, const double* gram, const double* cross, const double* mean, int64_t n,
               double* partial) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  moments_body(context, gram, cross, mean, n, partial, reinterpret_cast<double*>(shared));
}

const char* add_panel(const float* sums, int64_t slabs, int64_t height, int64_t width, int64_t first,
                      int64_t padded, int64_t n, double* gram, double* cross, void* stream) {
  return launch(add_panel_kernel, up(width, kThreads), height, 0, stream,
                Panel{sums, slabs, height, width, first, padded, n}, gram, cross);
}

int64_t moment_tiles(int64_t n) {
  const int64_t side = up(n, kMomentTile);
  return side * (side + 1) / 2;
}

const char* gram_moments(const double* gram, const double* cross, const double* mean, int64_t n,
                         double* partial, void* stream) {
  return launch(moments_kernel, moment_tiles(n), 1, kMomentBytes, stream, gram, cross, mean, n,
                partial);
}

}  // namespace xferpipe::cuda
