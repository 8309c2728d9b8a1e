// Runs the CUDA kernel bodies on the CPU, a thread per CUDA thread, and compares them with loops in
// double. Built and run by test_bodies.py; exits with the number of the check that failed.
#include <barrier>
#include <cmath>
#include <cstdio>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "cuda/gradient_sketch.cuh"
#include "cuda/rank_metrics.cuh"
#include "cuda/symmetric.cuh"

using namespace xferpipe;
using namespace xferpipe::cuda;

namespace {

struct HostContext {
  int thread_number;
  int64_t x, y;
  std::barrier<>* barrier;
  std::mutex* guard;

  int thread() const { return thread_number; }
  int64_t block_x() const { return x; }
  int64_t block_y() const { return y; }
  void sync() const { barrier->arrive_and_wait(); }
  void add(int64_t* into, int64_t value) const {
    const std::lock_guard<std::mutex> lock(*guard);
    *into += value;
  }
};

void launch(int64_t grid_x, int64_t grid_y,
            const std::function<void(HostContext&, float*)>& body) {
  std::mutex guard;
  std::vector<std::thread> threads;
  std::barrier<> barrier(kThreads);
  std::vector<float> shared(kSharedBytes / 4);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t y = 0; y < grid_y; ++y) {
        for (int64_t x = 0; x < grid_x; ++x) {
          if (t == 0) std::fill(shared.begin(), shared.end(), NAN);  // shows unwritten reads
          barrier.arrive_and_wait();
          HostContext context{t, x, y, &barrier, &guard};
          body(context, shared.data());
          barrier.arrive_and_wait();
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

std::mt19937 generator(7);
std::vector<float> numbers(int64_t count, bool grid) {
  std::vector<float> out(count);
  std::uniform_int_distribution<int> whole(-2, 2);
  std::normal_distribution<float> normal;
  for (float& value : out) value = grid ? static_cast<float>(whole(generator)) : normal(generator);
  return out;
}

int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

void check(bool fine, int number, const char* what) {
  if (fine) return;
  std::fprintf(stderr, "check %d failed: %s\n", number, what);
  std::exit(number);
}

void counts(int64_t q, int64_t m, int64_t d, int64_t first_row, bool cosine) {
  // Small integers: every score is exact, and many tie.
  const auto query = numbers(q * d, true), gallery = numbers(m * d, true);
  std::vector<double> norms(m, 0.0);
  for (int64_t j = 0; j < m; ++j) {
    for (int64_t k = 0; k < d; ++k) norms[j] += gallery[j * d + k] * gallery[j * d + k];
  }
  const ScoreJob job = {{query.data(), d, 1, q, nullptr, false},
                        {gallery.data(), d, 1, m, nullptr, false}, d, norms.data(), cosine};
  std::vector<float> scores(q * m);
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t j = 0; j < m; ++j) {
      float sum = 0.0f;
      for (int64_t k = 0; k < d; ++k) sum += query[i * d + k] * gallery[j * d + k];
      scores[i * m + j] = job.score(sum, j);
    }
  }
  std::vector<int64_t> offsets = {0}, rows;
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t j = i % 5; j < m; j += 1 + (i * 7) % 11) rows.push_back(j);
    offsets.push_back(static_cast<int64_t>(rows.size()));
  }
  // The pair kernel, one query at a time, must give the scores of the tile.
  std::vector<float> values(rows.size(), NAN);
  for (int64_t i = 0; i < q; i += q > 4 ? q / 3 : 1) {
    ScoreJob pairs = job;
    pairs.query.chosen = &i;
    pairs.query.rows = 1;
    pairs.gallery.chosen = rows.data() + offsets[i];
    pairs.gallery.rows = offsets[i + 1] - offsets[i];
    launch(up(pairs.gallery.rows, kTile), 1, [&](HostContext& context, float* shared) {
      pair_body<true>(context, pairs, &offsets[i], values.data(), shared);
    });
    for (int64_t p = offsets[i]; p < offsets[i + 1]; ++p) {
      check(values[p] == scores[i * m + rows[p]], 1, "pair scores");
    }
  }
  std::vector<int64_t> global = rows;
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t p = offsets[i]; p < offsets[i + 1]; ++p) values[p] = scores[i * m + rows[p]];
  }
  for (int64_t& row : global) row += first_row;
  const ThresholdLists lists = {offsets.data(), values.data(), global.data()};
  std::vector<int64_t> nearer(rows.size(), 0);
  launch(up(m, kTile), up(q, kTile), [&](HostContext& context, float* shared) {
    count_body<true>(context, job, lists, first_row, nearer.data(), shared);
  });
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t p = offsets[i]; p < offsets[i + 1]; ++p) {
      int64_t expected = 0;
      for (int64_t j = 0; j < m; ++j) {
        const float score = scores[i * m + j];
        expected += score > values[p] || (score == values[p] && j < rows[p]);
      }
      check(nearer[p] == expected, 2, "counts");
    }
  }
}

void symmetric(int64_t items, int64_t depth, bool columns) {
  const auto data = numbers(items * depth, false);
  const Operand operand = {data.data(), columns ? 1 : depth, columns ? items : 1, items, nullptr,
                           false};
  std::vector<double> gram(items * items, 0.5);
  launch(up(items, kTile), up(items, kTile), [&](HostContext& context, float* shared) {
    symmetric_body<true>(context, operand, depth, gram.data(), shared);
  });
  for (int64_t i = 0; i < items; ++i) {
    for (int64_t j = 0; j < items; ++j) {
      double expected = 0.5;
      for (int64_t k = 0; j >= i && k < depth; ++k) {
        expected += static_cast<double>(operand.at(i, k)) * operand.at(j, k);
      }
      check(std::fabs(gram[i * items + j] - expected) < 1e-3, 3, "symmetric product");
    }
  }
}

void class_sums(int64_t n, int64_t d, int64_t classes) {
  const auto data = numbers(n * d, false);
  std::vector<int64_t> labels(n);
  for (int64_t i = 0; i < n; ++i) labels[i] = (i * 5) % classes;
  std::vector<double> sums(classes * d, 0.0), expected(classes * d, 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < d; ++c) expected[labels[i] * d + c] += data[i * d + c];
  }
  const Operand rows = {data.data(), d, 1, n, nullptr, false};
  launch(up(d, kThreads), 1, [&](HostContext& context, float*) {
    class_sums_body(context, rows, d, labels.data(), sums.data());
  });
  check(sums == expected, 4, "class sums");
}

void sparse(int64_t n, int64_t p, int64_t k, int64_t first) {
  const auto data = numbers(n * p, false);
  std::vector<uint32_t> table(p);
  launch(up(p, kThreads), 1, [&](HostContext& context, float*) {
    hash_body(context, 99, first, p, static_cast<uint32_t>(k), table.data());
  });
  std::vector<std::vector<int64_t>> lists(k);
  std::vector<float> expected(n * k, 0.0f), out(n * k, 0.0f);
  for (int64_t j = 0; j < p; ++j) {
    const Words words = philox(99, Stream::kSparse, static_cast<uint64_t>((first + j) / 2));
    const uint32_t entry = bucket_and_sign(words, (first + j) % 2, static_cast<uint32_t>(k));
    check(entry == table[j], 5, "hash");
    const uint32_t bucket = entry & 0x7fffffffu;
    lists[bucket].push_back(j);
    for (int64_t i = 0; i < n; ++i) {
      expected[i * k + bucket] += entry >> 31 ? -data[i * p + j] : data[i * p + j];
    }
  }
  std::vector<int64_t> starts = {0}, order;
  for (const auto& list : lists) {
    order.insert(order.end(), list.begin(), list.end());
    starts.push_back(static_cast<int64_t>(order.size()));
  }
  const Operand rows = {data.data(), p, 1, n, nullptr, false};
  launch(up(k, kThreads), n, [&](HostContext& context, float*) {
    gather_body(context, rows, k, table.data(), starts.data(), order.data(), out.data());
  });
  check(out == expected, 6, "sparse projection");  // the same order of additions: the same bits
}

}  // namespace

int main() {
  counts(3, 5, 1, 0, false);
  counts(130, 150, 37, 1000, false);
  counts(5, 300, 33, 0, true);
  symmetric(20, 1100, true);
  symmetric(140, 40, false);
  class_sums(50, 300, 7);
  sparse(3, 1001, 40, 7);
  std::puts("fine");
  return 0;
}
