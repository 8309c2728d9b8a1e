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

// Part of a row less the shift, rounded to float32 once; `shift` is of the part alone.
void shift_part(const Matrix& m, const char* row, int64_t from, int64_t width, const double* shift,
                float* out) {
  if (m.bfloat16) {
    for (int64_t j = 0; j < width; ++j) out[j] = feature(m, row, from + j);
  } else {
    std::memcpy(out, row + 4 * from, 4 * width);
  }
  for (int64_t j = 0; j < width; ++j) {
    out[j] = static_cast<float>(static_cast<double>(out[j]) - shift[j]);
  }
}

}  // namespace

void label_correlation_columns(const Matrix& features, const int64_t* labels, const double* shift,
                               double* gram, double* class_sums) {
  const Kernels& k = kernels();
  const int64_t d = features.columns;
  const int64_t group = kGroupSlabs * kSlabRows;
  const int64_t depth_max = std::min(group, features.rows);
  const int64_t common = std::lcm(k.row_panel, k.column_panel);
  const int64_t strip = round_up(224, common);
  float* left = workspace().get<float>(Scratch::kLeft, round_up(d, common) * depth_max);
  float* right = workspace().get<float>(Scratch::kRight, round_up(d, common) * depth_max);
  for (int64_t first = 0; first < features.rows; first += group) {
    const int64_t rows = std::min(group, features.rows - first);
    // A work item owns a strip of columns: it packs them and adds them to the class sums, so a sum
    // has one owner and one order of additions whatever the number of threads.
    parallel_items((d + strip - 1) / strip, [&](int64_t, int64_t item) {
      const int64_t from = item * strip, width = std::min(strip, d - from);
      float* values = workspace().get<float>(Scratch::kRow, strip);
      std::fill_n(values, strip, 0.0f);
      // The last strip is packed to a whole number of panels, not to the whole strip.
      const int64_t panels = round_up(width, common);
      for (int64_t r = 0; r < rows; ++r) {
        shift_part(features, features.row(first + r), from, width, shift + from, values);
        k.add_to_double(values, width, class_sums + labels[first + r] * d + from);
        k.pack_step(values, panels, rows, r, left + from * rows, right + from * rows);
      }
    });
    add_symmetric_product({left, right, rows, false}, d, gram);
  }
}

void label_correlation_rows(const Matrix& features, const int64_t* labels, const double* shift,
                            double* gram, double* class_sums, double* along) {
  const int64_t n = features.rows, d = features.columns;
  std::vector<float> moved(n * d);
  for (int64_t i = 0; i < n; ++i) {
    double* sums = class_sums + labels[i] * d;
    float* row = moved.data() + i * d;
    shift_part(features, features.row(i), 0, d, shift, row);
    double product = 0.0;
    for (int64_t c = 0; c < d; ++c) {
      sums[c] += row[c];
      product += row[c] * shift[c];
    }
    *along += product * product;
  }
  gradient_gram(Matrix{moved.data(), n, d, d, false}, gram);
}

double label_correlation_finish(const double* gram, int64_t size, const double* class_sums,
                                const int64_t* class_counts, int64_t classes, int64_t features,
                                const double* mean, const double* along) {
  CorrelationSums m = {};
  m.gram_square = symmetric_square(gram, size);
  std::vector<double> total(features, 0.0);
  for (int64_t c = 0; c < classes; ++c) {
    const double count = static_cast<double>(class_counts[c]);
    m.samples += count;
    m.class_count_square += count * count;
    double square = 0.0, product = 0.0;
    for (int64_t j = 0; j < features; ++j) {
      const double value = class_sums[c * features + j];
      square += value * value;
      total[j] += value;
      if (mean) product += value * mean[j];
    }
    m.class_square += square;
    m.class_along += count * product;
  }
  if (mean) m.along_square = along ? *along : symmetric_form(gram, size, mean);
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
