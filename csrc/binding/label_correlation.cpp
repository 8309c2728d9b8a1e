// Label-feature correlation.
#include "../cpu/label_correlation.h"
#include "checks.h"

namespace xferpipe::binding {
namespace {

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

}  // namespace
}  // namespace xferpipe::binding

STABLE_TORCH_LIBRARY_FRAGMENT(xferpipe, m) {
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
      "label_correlation_whole(Tensor features, Tensor labels, bool is_centered) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(xferpipe, CPU, m) {
  using namespace xferpipe::binding;
  m.impl("column_sums", TORCH_BOX(&column_sums));
  m.impl("label_correlation_columns", TORCH_BOX(&label_correlation_columns));
  m.impl("label_correlation_rows", TORCH_BOX(&label_correlation_rows));
  m.impl("label_correlation_finish", TORCH_BOX(&label_correlation_finish));
}
