// Label-feature correlation: the Gram matrix of the smaller side, in slabs, and sums per class.
#pragma once
#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe {

// gram (d x d, float64; only j >= i is kept) += F^T F and class_sums (classes x d) += sums of rows,
// F = features - shift, rounded to float32 once. `shift` is the mean feature: products of what lies
// far from zero would lose the digits in which samples differ.
void label_correlation_columns(const Matrix& features, const int64_t* labels, const double* shift,
                               double* gram, double* class_sums);

// The same for few samples: gram (n x n) = F F^T, and *along = |F shift|^2.
void label_correlation_rows(const Matrix& features, const int64_t* labels, const double* shift,
                            double* gram, double* class_sums, double* along);

// The correlation of the centred features, or with their mean that of the features as they are;
// *along is then |F mean|^2, or null where gram is F^T F.
double label_correlation_finish(const double* gram, int64_t size, const double* class_sums,
                                const int64_t* class_counts, int64_t classes, int64_t features,
                                const double* mean, const double* along);

// sums[c] += the column's values, in row order, float64.
void column_sums(const Matrix& features, double* sums);

}  // namespace xferpipe
