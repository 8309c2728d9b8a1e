// Gram matrices and sketches of per-sample gradients.
#include <algorithm>

#include "../cpu/gradient_gram.h"
#include "../cpu/gradient_sketch.h"
#include "checks.h"

namespace xferpipe::binding {
namespace {

// `half` allows a device to compute with less accuracy; a processor never does.
void gradient_gram(Tensor gradients, bool, Tensor gram) {
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

void gradient_gram_factors(Tensor outputs, Tensor inputs, bool, Tensor gram) {
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
                           bool normal, double scale, bool, Tensor out) {
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

}  // namespace
}  // namespace xferpipe::binding

STABLE_TORCH_LIBRARY_FRAGMENT(xferpipe, m) {
  m.def("gradient_gram(Tensor gradients, bool half, Tensor(a!) gram) -> ()");
  m.def(
      "gradient_gram_factors(Tensor outputs, Tensor inputs, bool half, Tensor(a!) gram) -> ()");
  m.def("gradient_sketch_sparse(Tensor gradients, int seed, int first, Tensor(a!) out) -> ()");
  m.def("gradient_sketch_fold(Tensor gradients, int seed, int first, Tensor(a!) folded) -> ()");
  m.def("gradient_sketch_hadamard(Tensor folded, Tensor chosen, float scale) -> Tensor");
  m.def(
      "gradient_sketch_dense(Tensor gradients, int seed, int first, int p_total, bool normal, "
      "float scale, bool half, Tensor(a!) out) -> ()");
  m.def(
      "gradient_sketch_kronecker(Tensor outputs, Tensor inputs, int k1, int k2, int k, int seed) "
      "-> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(xferpipe, CPU, m) {
  using namespace xferpipe::binding;
  m.impl("gradient_gram", TORCH_BOX(&gradient_gram));
  m.impl("gradient_gram_factors", TORCH_BOX(&gradient_gram_factors));
  m.impl("gradient_sketch_sparse", TORCH_BOX(&gradient_sketch_sparse));
  m.impl("gradient_sketch_fold", TORCH_BOX(&gradient_sketch_fold));
  m.impl("gradient_sketch_hadamard", TORCH_BOX(&gradient_sketch_hadamard));
  m.impl("gradient_sketch_dense", TORCH_BOX(&gradient_sketch_dense));
  m.impl("gradient_sketch_kronecker", TORCH_BOX(&gradient_sketch_kronecker));
}
