// Ranking and nearest neighbours.
#include <algorithm>
#include <tuple>

#include "../cpu/nearest.h"
#include "../cpu/rank_metrics.h"
#include "../cpu/score_tiles.h"
#include "checks.h"

namespace xferpipe::binding {
namespace {

Tensor squared_norms(Tensor features) {
  const Matrix m = matrix(features, "features");
  Tensor out = make(features, {m.rows}, ScalarType::Double);
  xferpipe::squared_norms(m, output<double>(out));
  return out;
}

constexpr int64_t kAnyRows = INT64_MAX;

Pairs pairs(const Tensor& offsets, const Tensor& index, int64_t queries, int64_t gallery_rows) {
  const auto* at = vector<int64_t>(offsets, ScalarType::Long, queries + 1, "offsets");
  STD_TORCH_CHECK(at[0] == 0, "offsets must start at 0 but start at ", at[0]);
  for (int64_t i = 0; i < queries; ++i) {
    STD_TORCH_CHECK(at[i] <= at[i + 1], "offsets must not decrease, but do at query ", i);
  }
  const auto* rows = vector<int64_t>(index, ScalarType::Long, at[queries], "index");
  for (int64_t p = 0; p < at[queries]; ++p) {
    STD_TORCH_CHECK(rows[p] >= 0 && rows[p] < gallery_rows, "index names gallery row ", rows[p],
                    " but the gallery has ", gallery_rows, " rows");
  }
  return Pairs{at, rows, queries};
}

Tensor rank_metrics_scores(Tensor query, Tensor gallery, Tensor gallery_norms, Tensor offsets,
                           Tensor index, int64_t distance) {
  const Matrix q = matrix(query, "query"), g = matrix(gallery, "gallery");
  same_width(q, g);
  const Pairs p = pairs(offsets, index, q.rows, g.rows);
  Tensor out = make(query, {p.count()}, ScalarType::Float);
  xferpipe::rank_metrics_scores(
      q, g, vector<double>(gallery_norms, ScalarType::Double, g.rows, "gallery_norms"), p,
      static_cast<Distance>(distance), output<float>(out));
  return out;
}

Tensor rank_metrics_counts(Tensor query, Tensor gallery, Tensor gallery_norms, Tensor offsets,
                           Tensor index, Tensor scores, int64_t distance, int64_t first_row) {
  const Matrix q = matrix(query, "query"), g = matrix(gallery, "gallery");
  same_width(q, g);
  const Pairs p = pairs(offsets, index, q.rows, kAnyRows);
  Tensor out = make(query, {p.count()}, ScalarType::Long);
  std::fill_n(output<int64_t>(out), p.count(), 0);
  xferpipe::rank_metrics_counts(
      q, g, vector<double>(gallery_norms, ScalarType::Double, g.rows, "gallery_norms"), p,
      vector<float>(scores, ScalarType::Float, p.count(), "scores"),
      static_cast<Distance>(distance), first_row, output<int64_t>(out));
  return out;
}

Tensor rank_metrics_nearer(Tensor query, Tensor gallery, Tensor gallery_norms, Tensor offsets,
                           Tensor index, int64_t distance) {
  Tensor scores = rank_metrics_scores(query, gallery, gallery_norms, offsets, index, distance);
  return rank_metrics_counts(query, gallery, gallery_norms, offsets, index, scores, distance, 0);
}

Tensor rank_metrics_dense(Tensor distances, Tensor offsets, Tensor index) {
  const Matrix d = matrix(distances, "distances");
  STD_TORCH_CHECK(!d.bfloat16, "distances must be float32; convert them with .float()");
  const Pairs p = pairs(offsets, index, d.rows, d.columns);
  Tensor out = make(distances, {p.count()}, ScalarType::Long);
  std::fill_n(output<int64_t>(out), p.count(), 0);
  xferpipe::rank_metrics_dense(static_cast<const float*>(d.data), d.rows, d.columns, d.stride, p, 0,
                               output<int64_t>(out));
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rank_metrics_summary(Tensor offsets,
                                                                        Tensor nearer, Tensor junk,
                                                                        int64_t ap_kind) {
  const int64_t queries = offsets.numel() - 1;
  const auto* at = vector<int64_t>(offsets, ScalarType::Long, queries + 1, "offsets");
  const Pairs p{at, nullptr, queries};
  Tensor ap = make(nearer, {queries}, ScalarType::Double);
  Tensor inp = make(nearer, {queries}, ScalarType::Double);
  Tensor first = make(nearer, {queries}, ScalarType::Long);
  Tensor hits = make(nearer, {queries}, ScalarType::Long);
  Tensor junk_count = make(nearer, {queries}, ScalarType::Long);
  xferpipe::rank_metrics_summary(
      p, vector<int64_t>(nearer, ScalarType::Long, p.count(), "nearer"),
      vector<uint8_t>(junk, ScalarType::Bool, p.count(), "junk"),
      static_cast<xferpipe::AveragePrecision>(ap_kind), output<double>(ap), output<double>(inp),
      output<int64_t>(first), output<int64_t>(hits), output<int64_t>(junk_count));
  return {ap, inp, first, hits, junk_count};
}

std::tuple<Tensor, Tensor> nearest_scores(Tensor query, Tensor gallery, Tensor gallery_norms,
                                          int64_t k, int64_t distance, int64_t first_row) {
  const Matrix q = matrix(query, "query"), g = matrix(gallery, "gallery");
  same_width(q, g);
  STD_TORCH_CHECK(k >= 1 && k <= g.rows, "k is ", k, " but this block has ", g.rows, " rows");
  Tensor scores = make(query, {q.rows, k}, ScalarType::Float);
  Tensor index = make(query, {q.rows, k}, ScalarType::Long);
  xferpipe::nearest_scores(
      q, g, vector<double>(gallery_norms, ScalarType::Double, g.rows, "gallery_norms"), k,
      static_cast<Distance>(distance), first_row, output<float>(scores), output<int64_t>(index));
  return {scores, index};
}

}  // namespace
}  // namespace xferpipe::binding

STABLE_TORCH_LIBRARY_FRAGMENT(xferpipe, m) {
  m.def("squared_norms(Tensor features) -> Tensor");
  m.def(
      "rank_metrics_scores(Tensor query, Tensor gallery, Tensor gallery_norms, Tensor offsets, "
      "Tensor index, int distance) -> Tensor");
  m.def(
      "rank_metrics_counts(Tensor query, Tensor gallery, Tensor gallery_norms, Tensor offsets, "
      "Tensor index, Tensor scores, int distance, int first_row) -> Tensor");
  m.def(
      "rank_metrics_nearer(Tensor query, Tensor gallery, Tensor gallery_norms, Tensor offsets, "
      "Tensor index, int distance) -> Tensor");
  m.def(
      "rank_metrics_pairs(Tensor query_identity, Tensor gallery_identity, Tensor query_camera, "
      "Tensor gallery_camera) -> (Tensor, Tensor, Tensor)");
  m.def("rank_metrics_dense(Tensor distances, Tensor offsets, Tensor index) -> Tensor");
  m.def(
      "rank_metrics_summary(Tensor offsets, Tensor nearer, Tensor junk, int ap_kind) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "nearest_scores(Tensor query, Tensor gallery, Tensor gallery_norms, int k, int distance, "
      "int first_row) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(xferpipe, CPU, m) {
  using namespace xferpipe::binding;
  m.impl("squared_norms", TORCH_BOX(&squared_norms));
  m.impl("rank_metrics_scores", TORCH_BOX(&rank_metrics_scores));
  m.impl("rank_metrics_counts", TORCH_BOX(&rank_metrics_counts));
  m.impl("rank_metrics_nearer", TORCH_BOX(&rank_metrics_nearer));
  m.impl("rank_metrics_dense", TORCH_BOX(&rank_metrics_dense));
  m.impl("rank_metrics_summary", TORCH_BOX(&rank_metrics_summary));
  m.impl("nearest_scores", TORCH_BOX(&nearest_scores));
}
