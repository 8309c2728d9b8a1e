// The one file that sees torch (its stable ABI, floor 2.11) and pybind11. It checks what the Python
// wrappers may not have checked, borrows pointers and calls the kernels.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <tuple>

#include "core/parallel.h"
#include "cpu/gradient_gram.h"
#include "cpu/gradient_sketch.h"
#include "cpu/hot/kernels.h"
#include "cpu/k_reciprocal.h"
#include "cpu/label_correlation.h"
#include "cpu/nearest.h"
#include "cpu/rank_metrics.h"
#include "cpu/score_tiles.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using xferpipe::Distance;
using xferpipe::Matrix;
using xferpipe::Pairs;

void run_on_torch_pool(int64_t begin, int64_t end, int64_t grain, xferpipe::RangeFunction function,
                       void* context) {
  torch::stable::parallel_for(begin, end, grain,
                              [=](int64_t from, int64_t to) { function(from, to, context); });
}
int64_t torch_threads() { return torch::stable::get_num_threads(); }

Matrix matrix(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.dim() == 2, name, " has ", t.dim(), " dimensions but must have 2: (rows, d)");
  const bool half = t.scalar_type() == ScalarType::BFloat16;
  STD_TORCH_CHECK(half || t.scalar_type() == ScalarType::Float, name,
                  " must be float32 or bfloat16; convert it with .float()");
  STD_TORCH_CHECK(t.size(1) <= 1 || t.stride(1) == 1, name,
                  " must have its columns next to each other; call .contiguous()");
  return Matrix{t.const_data_ptr(), t.size(0), t.size(1), t.stride(0), half};
}

template <class T>
const T* vector(const Tensor& t, ScalarType type, int64_t length, const char* name) {
  STD_TORCH_CHECK(t.scalar_type() == type && t.is_contiguous(), name,
                  " must be contiguous and of the dtype its wrapper gives it");
  STD_TORCH_CHECK(t.numel() == length, name, " has ", t.numel(), " entries but needs ", length);
  return static_cast<const T*>(t.const_data_ptr());
}

template <class T>
T* output(Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

Tensor make(const Tensor& like, std::initializer_list<int64_t> shape, ScalarType type) {
  return torch::stable::new_empty(like, {shape.begin(), shape.size()}, type);
}

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

constexpr int64_t kAnyRows = INT64_MAX;

Tensor squared_norms(Tensor features) {
  const Matrix m = matrix(features, "features");
  Tensor out = make(features, {m.rows}, ScalarType::Double);
  xferpipe::squared_norms(m, output<double>(out));
  return out;
}

void same_width(const Matrix& query, const Matrix& gallery) {
  STD_TORCH_CHECK(query.columns == gallery.columns, "query has ", query.columns,
                  " features but gallery has ", gallery.columns,
                  ": both must come from one model and layer");
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

void column_sums(Tensor features, Tensor sums) {
  const Matrix m = matrix(features, "features");
  vector<double>(sums, ScalarType::Double, m.columns, "sums");
  xferpipe::column_sums(m, output<double>(sums));
}

using Accumulate = void (*)(const Matrix&, const int64_t*, const double*, double*, double*);

void accumulate(Accumulate run, const Tensor& features, const Tensor& labels, const Tensor& shift,
                Tensor& gram, Tensor& class_sums, int64_t size) {
  const Matrix m = matrix(features, "features");
  const auto* y = vector<int64_t>(labels, ScalarType::Long, m.rows, "labels");
  STD_TORCH_CHECK(class_sums.dim() == 2 && class_sums.size(1) == m.columns,
                  "class_sums must be (classes, ", m.columns, ")");
  for (int64_t i = 0; i < m.rows; ++i) {
    STD_TORCH_CHECK(y[i] >= 0 && y[i] < class_sums.size(0), "labels[", i, "] is ", y[i],
                    " but there are ", class_sums.size(0), " classes");
  }
  vector<double>(gram, ScalarType::Double, size * size, "gram");
  vector<double>(class_sums, ScalarType::Double, class_sums.numel(), "class_sums");
  const bool moved = shift.numel() > 0;
  const auto* by =
      vector<double>(shift, ScalarType::Double, moved ? m.columns : 0, "shift");
  if (m.rows == 0 || m.columns == 0) return;
  run(m, y, moved ? by : nullptr, output<double>(gram), output<double>(class_sums));
}

void label_correlation_columns(Tensor features, Tensor labels, Tensor shift, Tensor gram,
                               Tensor class_sums) {
  accumulate(xferpipe::label_correlation_columns, features, labels, shift, gram, class_sums,
             features.size(1));
}

void label_correlation_rows(Tensor features, Tensor labels, Tensor shift, Tensor gram,
                            Tensor class_sums) {
  accumulate(xferpipe::label_correlation_rows, features, labels, shift, gram, class_sums,
             features.size(0));
}

Tensor label_correlation_finish(Tensor gram, Tensor class_sums, Tensor class_counts) {
  STD_TORCH_CHECK(gram.dim() == 2 && gram.size(0) == gram.size(1), "gram must be square");
  STD_TORCH_CHECK(class_sums.dim() == 2, "class_sums must be (classes, d)");
  Tensor out = make(gram, {}, ScalarType::Double);
  *output<double>(out) = xferpipe::label_correlation_finish(
      vector<double>(gram, ScalarType::Double, gram.numel(), "gram"), gram.size(0),
      vector<double>(class_sums, ScalarType::Double, class_sums.numel(), "class_sums"),
      vector<int64_t>(class_counts, ScalarType::Long, class_sums.size(0), "class_counts"),
      class_sums.size(0), class_sums.size(1));
  return out;
}

std::tuple<Tensor, Tensor, Tensor> k_reciprocal_neighbours(Tensor query, Tensor gallery,
                                                           Tensor norms, int64_t k) {
  const Matrix q = matrix(query, "query"), g = matrix(gallery, "gallery");
  same_width(q, g);
  STD_TORCH_CHECK(q.bfloat16 == g.bfloat16, "query and gallery must have one dtype");
  const int64_t n = q.rows + g.rows;
  STD_TORCH_CHECK(k >= 1 && k <= n, "k is ", k, " but there are ", n, " items");
  Tensor scores = make(query, {n, k}, ScalarType::Float);
  Tensor index = make(query, {n, k}, ScalarType::Long);
  Tensor lowest = make(query, {n}, ScalarType::Float);
  xferpipe::k_reciprocal_neighbours(q, g, vector<double>(norms, ScalarType::Double, n, "norms"), k,
                                    output<float>(scores), output<int64_t>(index),
                                    output<float>(lowest));
  return {scores, index, lowest};
}

std::tuple<Tensor, Tensor, Tensor> k_reciprocal_rows(Tensor query, Tensor gallery, Tensor norms,
                                                     Tensor scores, Tensor index, Tensor lowest,
                                                     int64_t k1, int64_t k2) {
  const Matrix q = matrix(query, "query"), g = matrix(gallery, "gallery");
  same_width(q, g);
  const int64_t n = q.rows + g.rows;
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

void gradient_gram(Tensor gradients, Tensor gram) {
  const Matrix m = matrix(gradients, "gradients");
  vector<double>(gram, ScalarType::Double, m.rows * m.rows, "gram");
  xferpipe::gradient_gram(m, output<double>(gram));
}

xferpipe::Factors factors(const Tensor& outputs, const Tensor& inputs) {
  STD_TORCH_CHECK(outputs.dim() == 3 && inputs.dim() == 3, "factors must be 3-D: (n, rows, positions)");
  STD_TORCH_CHECK(outputs.size(0) == inputs.size(0) && outputs.size(2) == inputs.size(2),
                  "factors must agree in samples and positions");
  return {vector<float>(outputs, ScalarType::Float, outputs.numel(), "output factor"),
          vector<float>(inputs, ScalarType::Float, inputs.numel(), "input factor"),
          outputs.size(0), outputs.size(1), inputs.size(1), outputs.size(2)};
}

void gradient_gram_factors(Tensor outputs, Tensor inputs, Tensor gram) {
  const auto f = factors(outputs, inputs);
  vector<double>(gram, ScalarType::Double, f.samples * f.samples, "gram");
  xferpipe::gradient_gram_factors(f, output<double>(gram));
}

int64_t width_of(const Tensor& out, int64_t rows) {
  STD_TORCH_CHECK(out.dim() == 2 && out.size(0) == rows && out.size(1) >= 1,
                  "the sketch must have one row per sample and a column or more");
  vector<float>(out, ScalarType::Float, out.numel(), "sketch");
  return out.size(1);
}

void gradient_sketch_sparse(Tensor gradients, int64_t seed, int64_t first, Tensor out) {
  const Matrix m = matrix(gradients, "gradients");
  const int64_t k = width_of(out, m.rows);
  STD_TORCH_CHECK(k < (int64_t{1} << 31), "k must be below 2^31");
  xferpipe::gradient_sketch_sparse(m, k, static_cast<uint64_t>(seed), first, output<float>(out));
}

void gradient_sketch_fold(Tensor gradients, int64_t seed, int64_t first, Tensor folded) {
  const Matrix m = matrix(gradients, "gradients");
  xferpipe::gradient_sketch_fold(m, width_of(folded, m.rows), static_cast<uint64_t>(seed), first,
                                 output<float>(folded));
}

Tensor gradient_sketch_hadamard(Tensor folded, Tensor chosen, double scale) {
  const int64_t n = folded.size(0), size = width_of(folded, n), k = chosen.numel();
  STD_TORCH_CHECK((size & (size - 1)) == 0, "folded rows must have a power of two entries");
  const auto* rows = vector<int64_t>(chosen, ScalarType::Long, k, "chosen");
  for (int64_t j = 0; j < k; ++j) {
    STD_TORCH_CHECK(rows[j] >= 0 && rows[j] < size, "chosen[", j, "] is no row of the transform");
  }
  Tensor work = torch::stable::clone(folded);
  Tensor out = make(folded, {n, k}, ScalarType::Float);
  xferpipe::gradient_sketch_hadamard(output<float>(work), n, size, rows, k,
                                     static_cast<float>(scale), output<float>(out));
  return out;
}

void gradient_sketch_dense(Tensor gradients, int64_t seed, int64_t first, int64_t p_total,
                           bool normal, double scale, Tensor out) {
  const Matrix m = matrix(gradients, "gradients");
  xferpipe::gradient_sketch_dense(m, width_of(out, m.rows), static_cast<uint64_t>(seed), first,
                                  p_total, normal, static_cast<float>(scale), output<float>(out));
}

Tensor gradient_sketch_kronecker(Tensor outputs, Tensor inputs, int64_t k1, int64_t k2, int64_t k,
                                 int64_t seed) {
  const auto f = factors(outputs, inputs);
  STD_TORCH_CHECK(k1 >= 1 && k2 >= 1 && k >= 1 && k <= k1 * k2, "k must be 1 .. k1 * k2");
  Tensor out = make(outputs, {f.samples, k}, ScalarType::Float);
  xferpipe::gradient_sketch_kronecker(f, k1, k2, k, static_cast<uint64_t>(seed),
                                      output<float>(out));
  return out;
}

std::map<std::string, std::string> build_info() {
  std::string compiled = "scalar";
  if (xferpipe::kernels_avx2()) compiled += " avx2";
  if (xferpipe::kernels_avx512()) compiled += " avx512";
  return {{"source_hash", XFERPIPE_SOURCE_HASH},
          {"compiler", XFERPIPE_COMPILER},
          {"compiled_instruction_sets", compiled},
          {"cuda", XFERPIPE_CUDA},
          {"torch_stable_abi_floor", "2.11"}};
}

std::map<std::string, std::string> dispatch_info() {
  return {{"instruction_set", xferpipe::kernels().name},
          {"bfloat16_dot", xferpipe::kernels().dot_bfloat16 ? "yes" : "no"},
          {"threads", std::to_string(torch_threads())}};
}

// Floating-point operations done by `steps` steps of the multiply-add loop on every thread.
double multiply_add_operations(int64_t steps) {
  const auto& k = xferpipe::kernels();
  const int64_t threads = torch_threads();
  std::atomic<float> total{0.0f};
  xferpipe::parallel_items(threads,
                           [&](int64_t, int64_t) { total = k.multiply_add_loop(steps); });
  return static_cast<double>(threads) * static_cast<double>(steps * k.loop_operations);
}

}  // namespace

STABLE_TORCH_LIBRARY(xferpipe, m) {
  m.def("squared_norms(Tensor features) -> Tensor");
  m.def(
      "rank_metrics_scores(Tensor query, Tensor gallery, Tensor gallery_norms, Tensor offsets, "
      "Tensor index, int distance) -> Tensor");
  m.def(
      "rank_metrics_counts(Tensor query, Tensor gallery, Tensor gallery_norms, Tensor offsets, "
      "Tensor index, Tensor scores, int distance, int first_row) -> Tensor");
  m.def("rank_metrics_dense(Tensor distances, Tensor offsets, Tensor index) -> Tensor");
  m.def(
      "rank_metrics_summary(Tensor offsets, Tensor nearer, Tensor junk, int ap_kind) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "nearest_scores(Tensor query, Tensor gallery, Tensor gallery_norms, int k, int distance, "
      "int first_row) -> (Tensor, Tensor)");
  m.def("column_sums(Tensor features, Tensor(a!) sums) -> ()");
  m.def(
      "label_correlation_columns(Tensor features, Tensor labels, Tensor shift, Tensor(a!) gram, "
      "Tensor(b!) class_sums) -> ()");
  m.def(
      "label_correlation_rows(Tensor features, Tensor labels, Tensor shift, Tensor(a!) gram, "
      "Tensor(b!) class_sums) -> ()");
  m.def(
      "label_correlation_finish(Tensor gram, Tensor class_sums, Tensor class_counts) -> Tensor");
  m.def(
      "k_reciprocal_neighbours(Tensor query, Tensor gallery, Tensor norms, int k) -> "
      "(Tensor, Tensor, Tensor)");
  m.def(
      "k_reciprocal_rows(Tensor query, Tensor gallery, Tensor norms, Tensor scores, Tensor index, "
      "Tensor lowest, int k1, int k2) -> (Tensor, Tensor, Tensor)");
  m.def("gradient_gram(Tensor gradients, Tensor(a!) gram) -> ()");
  m.def("gradient_gram_factors(Tensor outputs, Tensor inputs, Tensor(a!) gram) -> ()");
  m.def("gradient_sketch_sparse(Tensor gradients, int seed, int first, Tensor(a!) out) -> ()");
  m.def("gradient_sketch_fold(Tensor gradients, int seed, int first, Tensor(a!) folded) -> ()");
  m.def("gradient_sketch_hadamard(Tensor folded, Tensor chosen, float scale) -> Tensor");
  m.def(
      "gradient_sketch_dense(Tensor gradients, int seed, int first, int p_total, bool normal, "
      "float scale, Tensor(a!) out) -> ()");
  m.def(
      "gradient_sketch_kronecker(Tensor outputs, Tensor inputs, int k1, int k2, int k, int seed) "
      "-> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(xferpipe, CPU, m) {
  m.impl("squared_norms", TORCH_BOX(&squared_norms));
  m.impl("rank_metrics_scores", TORCH_BOX(&rank_metrics_scores));
  m.impl("rank_metrics_counts", TORCH_BOX(&rank_metrics_counts));
  m.impl("rank_metrics_dense", TORCH_BOX(&rank_metrics_dense));
  m.impl("rank_metrics_summary", TORCH_BOX(&rank_metrics_summary));
  m.impl("nearest_scores", TORCH_BOX(&nearest_scores));
  m.impl("column_sums", TORCH_BOX(&column_sums));
  m.impl("label_correlation_columns", TORCH_BOX(&label_correlation_columns));
  m.impl("label_correlation_rows", TORCH_BOX(&label_correlation_rows));
  m.impl("label_correlation_finish", TORCH_BOX(&label_correlation_finish));
  m.impl("k_reciprocal_neighbours", TORCH_BOX(&k_reciprocal_neighbours));
  m.impl("k_reciprocal_rows", TORCH_BOX(&k_reciprocal_rows));
  m.impl("gradient_gram", TORCH_BOX(&gradient_gram));
  m.impl("gradient_gram_factors", TORCH_BOX(&gradient_gram_factors));
  m.impl("gradient_sketch_sparse", TORCH_BOX(&gradient_sketch_sparse));
  m.impl("gradient_sketch_fold", TORCH_BOX(&gradient_sketch_fold));
  m.impl("gradient_sketch_hadamard", TORCH_BOX(&gradient_sketch_hadamard));
  m.impl("gradient_sketch_dense", TORCH_BOX(&gradient_sketch_dense));
  m.impl("gradient_sketch_kronecker", TORCH_BOX(&gradient_sketch_kronecker));
}

PYBIND11_MODULE(XFERPIPE_MODULE, m) {
  xferpipe::thread_pool() = {run_on_torch_pool, torch_threads};
  m.def("build_info", &build_info, "What this extension was built from and with.");
  m.def("multiply_add_operations", &multiply_add_operations,
        "Run multiply-adds on registers alone and return how many operations that was.");
  m.def("dispatch_info", &dispatch_info, "What the kernels use on this machine.");
}
