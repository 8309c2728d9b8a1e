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

struct Accumulated {
  Matrix features;
  const int64_t* labels;
  const double* shift;
  double* gram;
  double* class_sums;
};

Accumulated accumulated(const Tensor& features, const Tensor& labels, const Tensor& shift,
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
  const auto* by = vector<double>(shift, ScalarType::Double, m.columns, "shift");
  return {m, y, by, output<double>(gram), output<double>(class_sums)};
}

void label_correlation_columns(Tensor features, Tensor labels, Tensor shift, Tensor gram,
                               Tensor class_sums) {
  const auto a = accumulated(features, labels, shift, gram, class_sums, features.size(1));
  if (a.features.rows == 0 || a.features.columns == 0) return;
  xferpipe::label_correlation_columns(a.features, a.labels, a.shift, a.gram, a.class_sums);
}

void label_correlation_rows(Tensor features, Tensor labels, Tensor shift, Tensor gram,
                            Tensor class_sums, Tensor along) {
  const auto a = accumulated(features, labels, shift, gram, class_sums, features.size(0));
  vector<double>(along, ScalarType::Double, 1, "along");
  if (a.features.rows == 0 || a.features.columns == 0) return;
  xferpipe::label_correlation_rows(a.features, a.labels, a.shift, a.gram, a.class_sums,
                                   output<double>(along));
}

Tensor label_correlation_finish(Tensor gram, Tensor class_sums, Tensor class_counts, Tensor mean,
                                Tensor along) {
  STD_TORCH_CHECK(gram.dim() == 2 && gram.size(0) == gram.size(1), "gram must be square");
  STD_TORCH_CHECK(class_sums.dim() == 2, "class_sums must be (classes, d)");
  const int64_t d = class_sums.size(1);
  const bool centred = mean.numel() == 0, given = along.numel() > 0;
  STD_TORCH_CHECK(centred || given || gram.size(0) == d, "gram of samples without along");
  const auto* by = vector<double>(mean, ScalarType::Double, centred ? 0 : d, "mean");
  const auto* products = vector<double>(along, ScalarType::Double, given, "along");
  Tensor out = make(gram, {}, ScalarType::Double);
  *output<double>(out) = xferpipe::label_correlation_finish(
      vector<double>(gram, ScalarType::Double, gram.numel(), "gram"), gram.size(0),
      vector<double>(class_sums, ScalarType::Double, class_sums.numel(), "class_sums"),
      vector<int64_t>(class_counts, ScalarType::Long, class_sums.size(0), "class_counts"),
      class_sums.size(0), d, centred ? nullptr : by, given ? products : nullptr);
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
      "Tensor(b!) class_sums, Tensor(c!) along) -> ()");
  m.def(
      "label_correlation_finish(Tensor gram, Tensor class_sums, Tensor class_counts, Tensor mean, "
      "Tensor along) -> Tensor");
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
