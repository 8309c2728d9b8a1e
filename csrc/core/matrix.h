// A borrowed row-major matrix: what every kernel of this package takes instead of a tensor.
#pragma once
#include <cstdint>

namespace xferpipe {

struct Matrix {
  const void* data;
  int64_t rows;
  int64_t columns;
  int64_t stride;  // elements between the starts of two rows
  bool bfloat16;   // else float32

  const char* row(int64_t i) const {
    return static_cast<const char*>(data) + i * stride * (bfloat16 ? 2 : 4);
  }
};

enum class Distance : int64_t { kEuclidean = 0, kCosine = 1 };
enum class AveragePrecision : int64_t { kStep = 0, kTrapezoid = 1 };

}  // namespace xferpipe
