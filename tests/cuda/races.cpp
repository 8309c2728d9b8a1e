// Runs every launcher on the CPU with a thread per CUDA thread, for ThreadSanitizer to watch, and
// checks what is cheap to check against loops. Built and run by test_compile.py; exits with the
// number of the check that failed. What the kernels compute is tested in test_ops.py.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "cuda/launch.h"

using namespace xferpipe;
using namespace xferpipe::cuda;

namespace {

std::mt19937 generator(7);
// Small whole numbers: sums are exact in any order, and many scores tie.
std::vector<float> numbers(int64_t count) {
  std::vector<float> out(count);
  std::uniform_int_distribution<int> whole(-2, 2);
  for (float& value : out) value = static_cast<float>(whole(generator));
  return out;
}
Matrix matrix(const std::vector<float>& data, int64_t rows) {
  const int64_t columns = static_cast<int64_t>(data.size()) / rows;
  return {data.data(), rows, columns, columns, false};
}
void check(bool fine, int number, const char* what) {
  if (fine) return;
  std::fprintf(stderr, "check %d failed: %s\n", number, what);
  std::exit(number);
}
void launched(const char* error) { check(error == nullptr, 99, error ? error : ""); }

void ranking() {
  const int64_t q = 130, m = 140, d = 33, k = 40;
  const auto query = numbers(q * d), gallery = numbers(m * d);
  const Matrix left = matrix(query, q), right = matrix(gallery, m);
  std::vector<double> norms(m, -1.0);
  launched(squared_norms(right, norms.data(), nullptr));
  std::vector<float> scores(q * m);
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t j = 0; j < m; ++j) {
      double sum = -0.5 * norms[j];
      for (int64_t c = 0; c < d; ++c) sum += query[i * d + c] * gallery[j * d + c];
      scores[i * m + j] = static_cast<float>(sum);
    }
  }
  std::vector<int64_t> offsets = {0}, rows;
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t j = i % 5; j < m; j += 20 + i % 11) rows.push_back(j);
    offsets.push_back(static_cast<int64_t>(rows.size()));
  }
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<float> values(count, NAN);
  launched(rank_metrics_scores(left, right, norms.data(), Distance::kEuclidean, offsets.data(),
                               rows.data(), count, values.data(), nullptr));
  std::vector<int64_t> nearer(count, 0), dense(count, 0);
  launched(rank_metrics_counts(left, right, norms.data(), Distance::kEuclidean, offsets.data(),
                               values.data(), rows.data(), 0, nearer.data(), nullptr));
  std::vector<float> distances(q * m);
  for (int64_t e = 0; e < q * m; ++e) distances[e] = -scores[e];
  launched(rank_metrics_dense(matrix(distances, q), offsets.data(), values.data(), rows.data(),
                              dense.data(), nullptr));
  std::vector<float> best(q * k), lowest(q);
  std::vector<int64_t> index(q * k);
  launched(nearest_scores(left, right, norms.data(), Distance::kEuclidean, k, 2, 0, best.data(),
                          index.data(), lowest.data(), nullptr));
  for (int64_t i = 0; i < q; ++i) {
    const float* own = scores.data() + i * m;
    const auto rank = [&](int64_t row) {
      int64_t before = 0;
      for (int64_t j = 0; j < m; ++j) {
        before += own[j] > own[row] || (own[j] == own[row] && j < row);
      }
      return before;
    };
    for (int64_t p = offsets[i]; p < offsets[i + 1]; ++p) {
      check(values[p] == own[rows[p]], 1, "scores of pairs");
      check(nearer[p] == rank(rows[p]) && dense[p] == nearer[p], 2, "counts");
    }
    for (int64_t t = 0; t < k; ++t) check(rank(index[i * k + t]) == t, 3, "lists");
  }
}

void sums() {
  const int64_t n = 40, d = 140, classes = 3;
  const auto data = numbers(n * d);
  const Matrix rows = matrix(data, n);
  std::vector<double> gram(d * d, 0.0), squares(3), moments(2), column(d, 0.0), partial(d);
  std::vector<double> class_totals(classes * d, 0.0), parts(2 * 128 * 128), own(n * n, 0.0);
  std::vector<int64_t> order(n), starts = {0, 10, 25, n}, counts = {10, 15, 15};
  for (int64_t i = 0; i < n; ++i) order[i] = n - 1 - i;
  launched(column_sums(rows, partial.data(), column.data(), nullptr));
  launched(class_sums(rows, nullptr, order.data(), starts.data(), classes, class_totals.data(),
                      nullptr));
  launched(symmetric(rows, true, nullptr, 1, gram.data(), nullptr, squares.data(), nullptr));
  launched(gram_squares(gram.data(), d, squares.data(), nullptr));
  double value = 2.0;
  launched(correlation(squares.data(), 3, class_totals.data(), classes, d, counts.data(),
                       moments.data(), &value, nullptr));
  check(std::fabs(value) <= 1.0, 4, "correlation");
  launched(symmetric(rows, false, nullptr, 2, own.data(), parts.data(), nullptr, nullptr));
  for (int64_t c = 0; c < d; ++c) {
    double product = 0.0;
    for (int64_t i = 0; i < n; ++i) product += data[i * d] * data[i * d + c];
    check(gram[c] == product, 5, "symmetric product");
    check(column[c] == class_totals[c] + class_totals[d + c] + class_totals[2 * d + c], 6, "sums");
  }
}

void sketches() {
  const int64_t n = 3, p = 300, k = 20, size = 1 << 16;
  const auto data = numbers(n * p);
  const Matrix rows = matrix(data, n);
  std::vector<uint32_t> table(p), signs(16);
  std::vector<uint8_t> turns(p);
  std::vector<float> out(n * k, 0.0f), folded(size, 0.0f), outer(n * 50), factor(n * k * 5, 0.0f);
  launched(gradient_sketch_hash(9, 7, p, k, table.data(), turns.data(), nullptr));
  launched(gradient_sketch_sparse(rows, k, table.data(), turns.data(), out.data(), nullptr));
  launched(gradient_sketch_signs(9, 0, 4, signs.data(), nullptr));
  launched(gradient_sketch_fold(matrix(data, n), 16, 7, signs.data(), folded.data(), nullptr));
  launched(gradient_sketch_hadamard(folded.data(), 1, size, nullptr));
  for (const bool normal : {false, true}) {
    launched(gradient_sketch_dense(rows, k, 9, 7, 400, normal, 1.0f, out.data(), nullptr));
  }
  launched(gradient_sketch_factor(data.data(), n, 20, 5, k, 9, true, factor.data(), nullptr));
  launched(gradient_outer(data.data(), data.data(), n, 10, 10, 5, 100, 100, 50, 1.0f, outer.data(),
                          nullptr));
  float product = 0.0f;
  for (int64_t q = 0; q < 5; ++q) product += data[q] * data[q];
  check(outer[0] == product, 7, "outer product");
}

}  // namespace

int main() {
  ranking();
  sums();
  sketches();
  std::puts("fine");
  return 0;
}
