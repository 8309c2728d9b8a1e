// Pearson correlation of all n^2 entries of a Gram matrix with those of the label kernel, from sums
// over centred features F (see docs/kernels.md for the derivation). Of the features as they are, F + 1
// m^T, products along the mean m are added; for centred ones these are zero.
#pragma once
#include <cmath>

namespace xferpipe {

struct CorrelationSums {
  double samples;            // n
  double gram_square;        // ||F^T F||_F^2 = ||F F^T||_F^2
  double along_square;       // |F m|^2
  double total_square;       // |s|^2, s the sum of all rows: what rounding leaves
  double class_square;       // sum over classes of |s_c|^2
  double class_along;        // sum over classes of n_c s_c.m
  double class_count_square; // sum over classes of n_c^2
};

// NaN where either side is constant.
inline double label_correlation_value(const CorrelationSums& m) {
  const double n2 = m.samples * m.samples;
  const double numerator =
      m.class_square + 2.0 * m.class_along - m.total_square * (m.class_count_square / n2);
  const double whole = m.gram_square + 2.0 * m.samples * m.along_square;
  const double features = whole - m.total_square * (m.total_square / n2);
  const double labels = m.class_count_square - m.class_count_square * (m.class_count_square / n2);
  // What is left after cancellation below the rounding of the sums is a constant matrix.
  if (!(features > whole * 1e-13) || !(labels > m.class_count_square * 1e-13)) return NAN;
  return numerator / (sqrt(features) * sqrt(labels));
}

}  // namespace xferpipe
