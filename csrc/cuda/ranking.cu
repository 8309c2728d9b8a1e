#include "launch.cuh"
#include "ranking.cuh"

namespace xferpipe::cuda {

XFERPIPE_KERNEL(kThreads, 4)
count_kernel(int64_t width, ScoreRows scores, PairLists pairs, int64_t first_row,
             int64_t columns_each, bool aligned, int64_t* nearer) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  count_body(context, scores, pairs, first_row, columns_each, aligned, nearer, shared);
}

XFERPIPE_KERNEL(kThreads, 4)
best_kernel(int64_t width, ScoreRows scores, int k, int64_t first_row, int64_t columns_each,
            float* best, int64_t* rows, float* lowest) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  best_body(context, scores, k, first_row, columns_each, best, rows, lowest, shared);
}

XFERPIPE_KERNEL(kThreads, 4)
check_kernel(int64_t width, PairLists pairs, int64_t queries, int64_t rows, int64_t* wrong) {
  DeviceContext context{width};
  check_body(context, pairs, queries, rows, wrong);
}

XFERPIPE_KERNEL(kThreads, 4)
summary_kernel(int64_t width, const int64_t* offsets, const int64_t* nearer, const uint8_t* junk,
               bool trapezoid, Summary out) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  summary_body(context, offsets, nearer, junk, trapezoid, out, shared);
}

XFERPIPE_KERNEL(kThreads, 4)
bounds_kernel(int64_t width, const int64_t* ordered, int64_t rows, const int64_t* identity,
              int64_t queries, int64_t* start, int64_t* length) {
  DeviceContext context{width};
  bounds_body(context, ordered, rows, identity, queries, start, length);
}

XFERPIPE_KERNEL(kThreads, 4)
fill_kernel(int64_t width, const int64_t* start, const int64_t* offsets, int64_t queries,
            const int64_t* order, Cameras cameras, int64_t* index, uint8_t* junk) {
  DeviceContext context{width};
  fill_body(context, start, offsets, queries, order, cameras, index, junk);
}

XFERPIPE_KERNEL(kThreads, 4)
squared_norms_kernel(int64_t width, Rows rows, double* norms) {
  XFERPIPE_SHARED(shared);
  DeviceContext context{width};
  norms_body(context, rows, norms, reinterpret_cast<double*>(shared));
}

const char* squared_norms(const Matrix& rows, double* norms, void* stream) {
  return launch(squared_norms_kernel, up(rows.rows, kThreads / 32), 1, kThreads * 8, stream,
                rows_of(rows), norms);
}

namespace {
// Enough blocks to fill a large device twice, by the shape alone: bits must not depend on the device.
constexpr int64_t kBlocks = 2048;
constexpr int64_t kColumns = 4096;  // fewer are not worth a block
int64_t columns_each(int64_t columns, int64_t ranges) { return up(up(columns, ranges), 4) * 4; }
}  // namespace

int64_t column_ranges(int64_t queries, int64_t columns) {
  const int64_t wanted = std::max<int64_t>(1, kBlocks / std::max<int64_t>(1, queries));
  const int64_t ranges = std::max<int64_t>(1, std::min(wanted, columns / kColumns));
  // What the rounding of their width leaves without a column is none.
  return std::max<int64_t>(1, up(columns, std::max<int64_t>(1, columns_each(columns, ranges))));
}
int64_t longest_list() { return kMostKept; }

const char* count_before(const float* scores, int64_t queries, int64_t stride, int64_t columns,
                         const int64_t* offsets, const int64_t* index, int64_t pairs,
                         const float* pair_scores, int64_t first_row, int64_t* nearer,
                         void* stream) {
  if (columns == 0) return nullptr;
  const int64_t ranges = column_ranges(queries, columns);
  const bool aligned = reinterpret_cast<uintptr_t>(scores) % 16 == 0 && stride % 4 == 0;
  return launch(count_kernel, queries, ranges, kCountBytes, stream,
                ScoreRows{scores, stride, queries, columns},
                PairLists{offsets, index, pair_scores, pairs}, first_row,
                columns_each(columns, ranges), aligned, nearer);
}

const char* check_pairs(const int64_t* offsets, const int64_t* index, int64_t queries,
                        int64_t count, int64_t rows, int64_t* wrong, void* stream) {
  return launch(check_kernel, up(std::max(queries + 1, count), kThreads), 1, 0, stream,
                PairLists{offsets, index, nullptr, count}, queries, rows, wrong);
}

const char* rank_metrics_summary(const int64_t* offsets, int64_t queries, const int64_t* nearer,
                                 const uint8_t* junk, bool trapezoid, double* average_precision,
                                 double* inverse_negative_penalty, int64_t* first_hit,
                                 int64_t* hits, int64_t* junk_count, void* stream) {
  const Summary out = {average_precision, inverse_negative_penalty, first_hit, hits, junk_count};
  return launch(summary_kernel, queries, 1, kHoldBytes, stream, offsets, nearer, junk, trapezoid, out);
}

const char* pair_bounds(const int64_t* ordered, int64_t rows, const int64_t* identity,
                        int64_t queries, int64_t* start, int64_t* length, void* stream) {
  return launch(bounds_kernel, up(queries, kThreads), 1, 0, stream, ordered, rows, identity, queries,
                start, length);
}

const char* fill_pairs(const int64_t* start, const int64_t* offsets, int64_t queries,
                       const int64_t* order, const int64_t* query_camera,
                       const int64_t* gallery_camera, int64_t* index, uint8_t* junk, void* stream) {
  return launch(fill_kernel, up(queries, kThreads / 32), 1, 0, stream, start, offsets, queries, order,
                Cameras{query_camera, gallery_camera}, index, junk);
}

const char* best_of_rows(const float* scores, int64_t queries, int64_t stride, int64_t columns,
                         int64_t k, int64_t first_row, float* best, int64_t* rows, float* lowest,
                         void* stream) {
  const int64_t ranges = column_ranges(queries, columns);
  return launch(best_kernel, queries, ranges, kBestBytes, stream,
                ScoreRows{scores, stride, queries, columns}, static_cast<int>(k), first_row,
                columns_each(columns, ranges), best, rows, lowest);
}

}  // namespace xferpipe::cuda
