#include "rank_metrics.cuh"

#include "launch.cuh"

namespace xferpipe::cuda {

// bfloat16 is exact in one part; the pair kernel splits it into itself and zero, which adds nothing.
template <bool kSplit>
XFERPIPE_KERNEL(kThreads, 1)
rank_metrics_count_kernel(int64_t width, ScoreJob job, ThresholdLists lists, int64_t first_row,
                          int64_t* nearer) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  count_body<kSplit>(context, job, lists, first_row, nearer, shared);
}

XFERPIPE_KERNEL(kThreads, 1)
rank_metrics_dense_kernel(int64_t width, const float* distances, int64_t rows, int64_t columns,
                          int64_t stride, ThresholdLists lists, int64_t* nearer) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  count_dense_body(context, distances, rows, columns, stride, lists, nearer, shared);
}

XFERPIPE_KERNEL(kThreads, 2)
rank_metrics_pair_kernel(int64_t width, ScoreJob job, PairLists pairs, float* out) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  pair_body(context, job, pairs, out, shared);
}

XFERPIPE_KERNEL(kThreads, 4)
squared_norms_kernel(int64_t width, RowsOf rows, int64_t depth, double* norms) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  norms_body(context, rows, depth, norms, reinterpret_cast<double*>(shared));
}

const char* squared_norms(const Matrix& rows, double* norms, void* stream) {
  return launch(squared_norms_kernel, up(rows.rows, kThreads / 32), 1, kThreads * 8, stream,
                rows_of(rows), rows.columns, norms);
}

const char* rank_metrics_counts(const Matrix& query, const Matrix& gallery, const double* norms,
                                Distance distance, const int64_t* offsets, const float* value,
                                const int64_t* row, int64_t first_row, int64_t* nearer,
                                void* stream) {
  const ScoreJob job = {rows_of(query), rows_of(gallery), query.columns, norms,
                        distance == Distance::kCosine};
  const ThresholdLists lists = {offsets, value, row};
  const auto kernel = query.bfloat16 && gallery.bfloat16 ? rank_metrics_count_kernel<false>
                                                         : rank_metrics_count_kernel<true>;
  return launch(kernel, up(query.rows, kTile), up(gallery.rows, kTile), 4 * kScoreFloats, stream,
                job, lists, first_row, nearer);
}

const char* rank_metrics_dense(const Matrix& distances, const int64_t* offsets, const float* value,
                               const int64_t* row, int64_t* nearer, void* stream) {
  const ThresholdLists lists = {offsets, value, row};
  return launch(rank_metrics_dense_kernel, up(distances.rows, kTile), up(distances.columns, kTile),
                4 * kTileFloats, stream, static_cast<const float*>(distances.data), distances.rows,
                distances.columns, distances.stride, lists, nearer);
}

const char* rank_metrics_scores(const Matrix& query, const Matrix& gallery, const double* norms,
                                Distance distance, const int64_t* offsets, const int64_t* index,
                                int64_t count, float* out, void* stream) {
  const ScoreJob job = {rows_of(query), rows_of(gallery), query.columns, norms,
                        distance == Distance::kCosine};
  const PairLists pairs = {offsets, index, query.rows, count};
  return launch(rank_metrics_pair_kernel, up(count, kTile), 1, 4 * (kPairFloats + 2 * kTile),
                stream, job, pairs, out);
}

}  // namespace xferpipe::cuda
