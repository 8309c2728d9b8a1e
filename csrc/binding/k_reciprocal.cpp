// Re-ranking by k-reciprocal neighbours.
#include <algorithm>
#include <tuple>

#include "../cpu/k_reciprocal.h"
#include "checks.h"

namespace xferpipe::binding {
namespace {

std::tuple<Tensor, Tensor, Tensor> k_reciprocal_neighbours(Tensor query, Tensor gallery,
                                                           Tensor norms, int64_t k, Tensor kept) {
  const Matrix q = matrix(query, "query"), g = matrix(gallery, "gallery");
  same_width(q, g);
  STD_TORCH_CHECK(q.bfloat16 == g.bfloat16, "query and gallery must have one dtype");
  const int64_t n = q.rows + g.rows;
  STD_TORCH_CHECK(k >= 1 && k <= n, "k is ", k, " but there are ", n, " items");
  const bool keep = kept.numel() > 0;
  vector<float>(kept, ScalarType::Float, keep ? q.rows * g.rows : 0, "kept");
  Tensor scores = make(query, {n, k}, ScalarType::Float);
  Tensor index = make(query, {n, k}, ScalarType::Long);
  Tensor lowest = make(query, {n}, ScalarType::Float);
  xferpipe::k_reciprocal_neighbours(q, g, vector<double>(norms, ScalarType::Double, n, "norms"), k,
                                    output<float>(scores), output<int64_t>(index),
                                    output<float>(lowest), keep ? output<float>(kept) : nullptr);
  return {scores, index, lowest};
}

std::tuple<Tensor, Tensor, Tensor> k_reciprocal_rows(Tensor query, Tensor gallery, Tensor norms,
                                                     Tensor scores, Tensor index, Tensor lowest,
                                                     int64_t k1, int64_t k2) {
  const Matrix q = matrix(query, "query"), g = matrix(gallery, "gallery");
  same_width(q, g);
  const int64_t n = q.rows + g.rows;
  STD_TORCH_CHECK(n < (int64_t{1} << 31), "there are ", n, " items but 2^31 - 1 are the most");
  STD_TORCH_CHECK(k1 >= 1 && k2 >= 1 && k2 <= k1 + 1, "k1 and k2 must be at least 1, k2 <= k1 + 1");
  const auto* near = vector<int64_t>(index, ScalarType::Long, n * (k1 + 1), "index");
  for (int64_t e = 0; e < n * (k1 + 1); ++e) {
    STD_TORCH_CHECK(near[e] >= 0 && near[e] < n, "index names item ", near[e], " of ", n);
  }
  const auto rows = xferpipe::k_reciprocal_rows(
      q, g, vector<double>(norms, ScalarType::Double, n, "norms"),
      vector<float>(scores, ScalarType::Float, n * (k1 + 1), "scores"), near,
      vector<float>(lowest, ScalarType::Float, n, "lowest"), k1, k2);
  const auto entries = static_cast<int64_t>(rows.index.size());
  Tensor offsets = make(query, {q.rows + 1}, ScalarType::Long);
  Tensor columns = make(query, {entries}, ScalarType::Long);
  Tensor values = make(query, {entries}, ScalarType::Float);
  std::copy(rows.offsets.begin(), rows.offsets.end(), output<int64_t>(offsets));
  std::copy(rows.index.begin(), rows.index.end(), output<int64_t>(columns));
  std::copy(rows.values.begin(), rows.values.end(), output<float>(values));
  return {offsets, columns, values};
}

}  // namespace
}  // namespace xferpipe::binding

STABLE_TORCH_LIBRARY_FRAGMENT(xferpipe, m) {
  m.def(
      "k_reciprocal_neighbours(Tensor query, Tensor gallery, Tensor norms, int k, "
      "Tensor(a!) kept) -> "
      "(Tensor, Tensor, Tensor)");
  m.def(
      "k_reciprocal_rows(Tensor query, Tensor gallery, Tensor norms, Tensor scores, Tensor index, "
      "Tensor lowest, int k1, int k2) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(xferpipe, CPU, m) {
  using namespace xferpipe::binding;
  m.impl("k_reciprocal_neighbours", TORCH_BOX(&k_reciprocal_neighbours));
  m.impl("k_reciprocal_rows", TORCH_BOX(&k_reciprocal_rows));
}
