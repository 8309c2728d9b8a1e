#include "rank_metrics.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

template <bool kSplit>
__global__ void __launch_bounds__(kThreads, 1)
    rank_metrics_count_kernel(ScoreJob job, ThresholdLists lists, int64_t first_row,
                              int64_t* nearer) {
  extern __shared__ float shared[];
  DeviceContext context;
  count_body<kSplit>(context, job, lists, first_row, nearer, shared);
}

// bfloat16 splits into itself and zero, so one form gives the bits of both forms of the count.
__global__ void __launch_bounds__(kThreads, 1)
    rank_metrics_pair_kernel(ScoreJob job, const int64_t* places, float* out) {
  extern __shared__ float shared[];
  DeviceContext context;
  pair_body<true>(context, job, places, out, shared);
}

const char* rank_metrics_counts(const Matrix& query, const Matrix& gallery, const double* norms,
                                Distance distance, const int64_t* offsets, const float* value,
                                const int64_t* row, int64_t first_row, int64_t* nearer,
                                void* stream) {
  const ScoreJob job = {rows_of(query), rows_of(gallery), query.columns, norms,
               distance == Distance::kCosine};
  const ThresholdLists lists = {offsets, value, row};
  const dim3 grid(tiles(gallery.rows, kTile), tiles(query.rows, kTile));
  const auto kernel = query.bfloat16 && gallery.bfloat16 ? rank_metrics_count_kernel<false>
                                                         : rank_metrics_count_kernel<true>;
  return launch(kernel, grid, kSharedBytes, stream, job, lists, first_row, nearer);
}

const char* rank_metrics_scores(const Matrix& query, const Matrix& gallery, const double* norms,
                                Distance distance, const int64_t* chosen, int64_t queries,
                                const int64_t* rows, int64_t columns, const int64_t* places,
                                float* out, void* stream) {
  ScoreJob job = {rows_of(query), rows_of(gallery), query.columns, norms,
               distance == Distance::kCosine};
  job.query.chosen = chosen;
  job.query.rows = queries;
  job.gallery.chosen = rows;
  job.gallery.rows = columns;
  const dim3 grid(tiles(columns, kTile), tiles(queries, kTile));
  return launch(rank_metrics_pair_kernel, grid, kSharedBytes, stream, job, places, out);
}

}  // namespace xferpipe::cuda
