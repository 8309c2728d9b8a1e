// Pearson correlation of all n^2 entries of a Gram matrix with those of the label kernel, from five
// sums (see docs/kernels.md for the derivation).
#pragma once
#include <cmath>

namespace xferpipe {

struct CorrelationSums {
  double samples;            // n
  double gram_square;        // ||F^T F||_F^2 = ||F F^T||_F^2
  double total_square;       // |s|^2, s the sum of all rows
  double class_square;       // sum over classes of |s_c|^2
  double class_count_square; // sum over classes of n_c^2
};

// NaN where either side is constant.
inline double label_correlation_value(const CorrelationSums& m) {
  const double n2 = m.samples * m.samples;
  const double numerator = m.class_square - m.total_square * (m.class_count_square / n2);
  const double features = m.gram_square - m.total_square * (m.total_square / n2);
  const double labels = m.class_count_square - m.class_count_square * (m.class_count_square / n2);
  // What is left after cancellation below the rounding of the sums is a constant matrix.
  if (!(features > m.gram_square * 1e-13) || !(labels > m.class_count_square * 1e-13)) return NAN;
  return numerator / (sqrt(features) * sqrt(labels));
}

}  // namespace xferpipe
