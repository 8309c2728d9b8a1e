// Rows of float32 or bfloat16 numbers, as every kernel reads them, and the bits of such numbers.
#pragma once
#include <cstdint>
#include <cstring>

#include "context.cuh"

namespace xferpipe::cuda {

XFERPIPE_HOST_DEVICE inline uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
XFERPIPE_HOST_DEVICE inline float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
XFERPIPE_HOST_DEVICE inline float from_bfloat16(uint16_t half) {
  return float_of(static_cast<uint32_t>(half) << 16);
}

struct Rows {
  const void* data;
  int64_t stride, rows, columns;
  bool bfloat16;

  XFERPIPE_HOST_DEVICE float at(int64_t row, int64_t column) const {
    const int64_t where = row * stride + column;
    if (!bfloat16) return static_cast<const float*>(data)[where];
    return from_bfloat16(static_cast<const uint16_t*>(data)[where]);
  }
};

// Four float32 numbers or eight of 16 bits, read and written at once.
struct alignas(16) Sixteen {
  uint32_t word[4];
};

// Rounded to float32 once more after the subtraction.
XFERPIPE_HOST_DEVICE inline float shifted(float value, const double* shift, int64_t column) {
  return shift ? static_cast<float>(static_cast<double>(value) - shift[column]) : value;
}

}  // namespace xferpipe::cuda
