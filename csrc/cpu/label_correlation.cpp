#include "label_correlation.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "../core/parallel.h"
#include "../core/workspace.h"
#include "correlation.h"
#include "gradient_gram.h"
#include "score_tiles.h"
#include "symmetric.h"

namespace xferpipe {
namespace {

constexpr int64_t kGroupSlabs = 2;  // slabs packed at once: bounds the memory of a long stream

float feature(const Matrix& m, const char* row, int64_t column) {
  if (!m.bfloat16) {
    float value;
    std::memcpy(&value, row + 4 * column, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, row + 2 * column, 2);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

float shifted(float value, const double* shift, int64_t column) {
  return shift ? static_cast<float>(static_cast<double>(value) - shift[column]) : value;
}

// One row of bfloat16 values into the lower (0) or upper (1) halves of words; the lower ones clear the
// upper, so that an odd last row is paired with zeros.
void put_half(const char* row, int64_t width, int64_t half, float* words) {
  for (int64_t j = 0; j < width; ++j) {
    uint16_t value;
    std::memcpy(&value, row + 2 * j, 2);
    uint32_t word = value;
    if (half == 1) {
      std::memcpy(&word, words + j, 4);
      word |= static_cast<uint32_t>(value) << 16;
    }
    std::memcpy(words + j, &word, 4);
  }
}

}  // namespace

void label_correlation_columns(const Matrix& features, const int64_t* labels, const double* shift,
                               double* gram, double* class_sums) {
  const Kernels& k = kernels();
  const int64_t d = features.columns;
  const int64_t group = kGroupSlabs * kSlabRows;
  // Values that were shifted no longer fit bfloat16; the others are multiplied as they are.
  const bool pairs = features.bfloat16 && !shift && k.multiply_pairs;
  const int64_t together = pairs ? 2 : 1;  // rows per step
  const int64_t depth_max = (std::min(group, features.rows) + together - 1) / together;
  const int64_t common = std::lcm(k.row_panel, k.column_panel);
  const int64_t strip = round_up(224, common);
  float* left = workspace().get<float>(Scratch::kLeft, round_up(d, common) * depth_max);
  float* right = workspace().get<float>(Scratch::kRight, round_up(d, common) * depth_max);
  for (int64_t first = 0; first < features.rows; first += group) {
    const int64_t rows = std::min(group, features.rows - first);
    const int64_t depth = (rows + together - 1) / together;
    // A work item owns a strip of columns: it packs them and adds them to the class sums, so a sum
    // has one owner and one order of additions whatever the number of threads.
    parallel_items((d + strip - 1) / strip, [&](int64_t, int64_t item) {
      const int64_t from = item * strip, width = std::min(strip, d - from);
      float* values = workspace().get<float>(Scratch::kRow, 2 * strip);
      float* step = pairs ? values + strip : values;
      std::fill_n(values, 2 * strip, 0.0f);
      // The last strip is packed to a whole number of panels, not to the whole strip.
      const int64_t panels = round_up(width, common);
      for (int64_t r = 0; r < rows; ++r) {
        const char* row = features.row(first + r);
        if (!features.bfloat16 && !shift) {
          std::memcpy(values, row + 4 * from, 4 * width);
        } else {
          for (int64_t j = 0; j < width; ++j) {
            values[j] = shifted(feature(features, row, from + j), shift, from + j);
          }
        }
        k.add_to_double(values, width, class_sums + labels[first + r] * d + from);
        if (pairs) put_half(row + 2 * from, width, r % 2, step);
        if (r % together == together - 1 || r == rows - 1) {
          k.pack_step(step, panels, depth, r / together, left + from * depth, right + from * depth);
        }
      }
    });
    add_symmetric_product({left, right, depth, pairs}, d, gram);
  }
}

void label_correlation_rows(const Matrix& features, const int64_t* labels, const double* shift,
                            double* gram, double* class_sums) {
  const int64_t n = features.rows, d = features.columns;
  std::vector<float> moved;  // the shifted rows, when there is a shift
  Matrix source = features;
  if (shift) {
    moved.resize(n * d);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t c = 0; c < d; ++c) {
        moved[i * d + c] = shifted(feature(features, features.row(i), c), shift, c);
      }
    }
    source = Matrix{moved.data(), n, d, d, false};
  }
  for (int64_t i = 0; i < n; ++i) {
    double* sums = class_sums + labels[i] * d;
    const char* row = source.row(i);
    for (int64_t c = 0; c < d; ++c) sums[c] += feature(source, row, c);
  }
  gradient_gram(source, gram);
}

double label_correlation_finish(const double* gram, int64_t size, const double* class_sums,
                                const int64_t* class_counts, int64_t classes, int64_t features) {
  CorrelationSums m = {};
  m.gram_square = symmetric_square(gram, size);
  std::vector<double> total(features, 0.0);
  for (int64_t c = 0; c < classes; ++c) {
    const double count = static_cast<double>(class_counts[c]);
    m.samples += count;
    m.class_count_square += count * count;
    double square = 0.0;
    for (int64_t j = 0; j < features; ++j) {
      const double value = class_sums[c * features + j];
      square += value * value;
      total[j] += value;
    }
    m.class_square += square;
  }
  for (double value : total) m.total_square += value * value;
  return label_correlation_value(m);
}

void column_sums(const Matrix& features, double* sums) {
  constexpr int64_t kColumns = 64;
  parallel_items((features.columns + kColumns - 1) / kColumns, [&](int64_t, int64_t item) {
    const int64_t from = item * kColumns, to = std::min(features.columns, from + kColumns);
    for (int64_t i = 0; i < features.rows; ++i) {
      const char* row = features.row(i);
      for (int64_t c = from; c < to; ++c) sums[c] += feature(features, row, c);
    }
  });
}

}  // namespace xferpipe
