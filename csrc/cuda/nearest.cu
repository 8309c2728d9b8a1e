#include "nearest.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

template <bool kSplit>
XFERPIPE_KERNEL(kThreads, 1)
nearest_kernel(int64_t width, ScoreJob job, int64_t k, int64_t tiles_each, int64_t first_row,
               float* scores, int64_t* rows, float* lowest) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  nearest_body<kSplit>(context, job, k, tiles_each, first_row, scores, rows, lowest, shared);
}

const char* nearest_scores(const Matrix& query, const Matrix& gallery, const double* norms,
                           Distance distance, int64_t k, int64_t tiles_each, int64_t first_row,
                           float* scores, int64_t* rows, float* lowest, void* stream) {
  const ScoreJob job = {rows_of(query), rows_of(gallery), query.columns, norms,
                        distance == Distance::kCosine};
  const auto kernel =
      query.bfloat16 && gallery.bfloat16 ? nearest_kernel<false> : nearest_kernel<true>;
  return launch(kernel, up(query.rows, kTile), up(up(gallery.rows, kTile), tiles_each),
                4 * kScoreFloats, stream, job, k, tiles_each, first_row, scores, rows, lowest);
}

}  // namespace xferpipe::cuda
