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
  const int64_t q = 13, m = 140, k = 40, pitch = 144;
  const auto data = numbers(q * 33);
  std::vector<double> norms(q, -1.0);
  launched(squared_norms(matrix(data, q), norms.data(), nullptr));
  std::vector<float> scores(q * pitch, NAN);  // NAN where there is padding
  for (int64_t i = 0; i < q; ++i) {
    const auto own = numbers(m);
    for (int64_t j = 0; j < m; ++j) scores[i * pitch + j] = own[j];
  }
  std::vector<int64_t> offsets = {0}, rows;
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t j = i % 5; j < m; j += 2 + i % 11) rows.push_back(j);
    offsets.push_back(static_cast<int64_t>(rows.size()));
  }
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<int64_t> nearer(count, 0), wrong(1, 0);
  launched(check_pairs(offsets.data(), rows.data(), q, count, m, wrong.data(), nullptr));
  check(wrong[0] == 0, 1, "pairs");
  launched(count_before(scores.data(), q, pitch, m, offsets.data(), rows.data(), count, nullptr, 0,
                        nearer.data(), nullptr));
  std::vector<float> best(q * k), lowest(q);
  std::vector<int64_t> index(q * k);
  launched(best_of_rows(scores.data(), q, pitch, m, k, 0, best.data(), index.data(), lowest.data(),
                        nullptr));
  for (int64_t i = 0; i < q; ++i) {
    const float* own = scores.data() + i * pitch;
    const auto rank = [&](int64_t row) {
      int64_t before = 0;
      for (int64_t j = 0; j < m; ++j) {
        before += own[j] > own[row] || (own[j] == own[row] && j < row);
      }
      return before;
    };
    for (int64_t p = offsets[i]; p < offsets[i + 1]; ++p) {
      check(nearer[p] == rank(rows[p]), 2, "counts");
    }
    for (int64_t t = 0; t < k; ++t) check(rank(index[i * k + t]) == t, 3, "lists");
  }
  std::vector<uint8_t> junk(count, 0);
  std::vector<double> ap(q), inp(q);
  std::vector<int64_t> first(q), hits(q), dropped(q);
  launched(rank_metrics_summary(offsets.data(), q, nearer.data(), junk.data(), false, ap.data(),
                                inp.data(), first.data(), hits.data(), dropped.data(), nullptr));
  check(hits[0] == offsets[1] && ap[0] > 0 && ap[0] <= 1, 4, "metrics");
  const std::vector<int64_t> ordered = {1, 1, 4, 7}, order = {2, 3, 1, 0}, wanted = {4, 1, 2};
  std::vector<int64_t> start(3), length(3), filled(3);
  std::vector<uint8_t> is_junk(3, 9);
  launched(pair_bounds(ordered.data(), 4, wanted.data(), 3, start.data(), length.data(), nullptr));
  const std::vector<int64_t> ends = {0, 1, 3, 3};
  launched(fill_pairs(start.data(), ends.data(), 3, order.data(), nullptr, nullptr, filled.data(),
                      is_junk.data(), nullptr));
  check(filled == std::vector<int64_t>({1, 2, 3}) && is_junk[2] == 0, 5, "pairs of identities");
}

void sums() {
  const int64_t n = 40, d = 70, classes = 3;
  const auto data = numbers(n * d);
  const Matrix rows = matrix(data, n);
  std::vector<int64_t> order(n), starts = {0, 10, 25, n};
  for (int64_t i = 0; i < n; ++i) order[i] = n - 1 - i;
  std::vector<double> totals(classes * d, NAN), mean(d), class_partial(3 * mean_tiles(d));
  int largest = 0;
  launched(class_sums(rows, order.data(), starts.data(), classes, totals.data(), &largest, nullptr));
  launched(class_moments(totals.data(), starts.data(), classes, d, n, mean.data(),
                         class_partial.data(), nullptr));
  std::vector<float> panel(2 * d * 2 * d, 1.0f);
  std::vector<double> gram(d * d, 0.0), cross(d * d, 0.0), partial(2 * moment_tiles(d));
  launched(add_panel(panel.data(), 2, d, 2 * d, 0, d, d, gram.data(), cross.data(), nullptr));
  launched(gram_moments(gram.data(), cross.data(), mean.data(), d, partial.data(), nullptr));
  const float one = 1.0f;
  double square = 0.0, value = 9.0;
  for (int64_t t = 0; t < moment_tiles(d); ++t) square += partial[2 * t];
  check(square == 36.0 * d * d, 6, "moments");  // 2 slabs of 1, and 2 of each cross part
  launched(correlation(class_partial.data(), mean_tiles(d), partial.data(), moment_tiles(d),
                       starts.data(), classes, n, true, &one, nullptr, &value, nullptr));
  check(std::isfinite(value), 7, "correlation");
  float scale = 0.0f;
  const float two = 2.0f;
  launched(float16_scale(&two, 1, &scale, nullptr));
  check(scale == 8192.0f && largest != 0, 8, "scale");
  std::vector<uint16_t> out(n * (2 * 72 + 8));
  const SplitTarget target = {out.data(), n, 72, 2 * 72 + 8, 72, 2, 2, false, Tail::kOnes};
  launched(split(rows, RowChanges{mean.data(), nullptr, 0, nullptr}, target, nullptr));
}

void sketches() {
  const int64_t n = 6, p = 1300, k = 20, size = 1 << 16;
  const auto data = numbers(n * p);
  const Matrix rows = matrix(data, n);
  std::vector<uint32_t> table(p), signs(64);
  std::vector<uint16_t> turns(p), random(3 * 160);
  std::vector<float> out(n * k, 0.0f), folded(size, 0.0f), normal(3 * 150);
  launched(sparse_hash(9, 7, p, k, table.data(), turns.data(), nullptr));
  launched(sparse_sketch(rows, k, table.data(), turns.data(), out.data(), 48 * 1024, nullptr));
  launched(sign_words(9, 0, 11, signs.data(), nullptr));
  launched(fold(rows, 16, 7, signs.data(), folded.data(), nullptr));
  launched(hadamard(folded.data(), 1, size, 48 * 1024, nullptr));
  launched(random_signs(9, 4, 3, 128, 160, 200, true, random.data(), nullptr));
  launched(random_normals(9, 3, 128, 150, 400, normal.data(), nullptr));
  float total = 0.0f, expected = 0.0f;
  for (int64_t j = 0; j < k; ++j) total += out[j];
  for (int64_t j = 0; j < p; ++j) expected += table[j] >> 31 ? -data[j] : data[j];
  check(total == expected, 9, "sparse sketch");
}

}  // namespace

int main() {
  ranking();
  sums();
  sketches();
  std::puts("fine");
  return 0;
}
