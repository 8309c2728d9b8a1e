// A model of the tf32 matrix instruction, for what plain float32 loops cannot show: tensor cores cut
// off what does not fit, toward zero. A few products and the accumulator are aligned to the largest
// exponent among them, cut a few bits below float32's last one, added exactly, and cut to float32.
// XFERPIPE_TENSOR_CORE products are added at a time, with XFERPIPE_TENSOR_CORE_BITS such bits: 8 and
// 2 on an H100, 4 and 1 on an A100.
//
// Source: Khattak and Mikaitis, Accurate models of NVIDIA tensor cores, arXiv 2512.07004.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace xferpipe::cuda {
namespace tensor_core {

constexpr int kProducts = XFERPIPE_TENSOR_CORE, kExtraBits = XFERPIPE_TENSOR_CORE_BITS;

inline int exponent(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  return static_cast<int>(bits >> 52 & 0x7ff) - 1023;
}
inline double power_of_two(int e) {
  const uint64_t bits = static_cast<uint64_t>(e + 1023) << 52;
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}
// As cvt.rna.tf32.f32: ten bits of fraction, halves away from zero.
inline float tf32(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x1000u) & ~0x1fffu;
  std::memcpy(&x, &bits, 4);
  return x;
}

// c + products of a few pairs.
inline float step(const float* a, const float* b, float c) {
  // Of a product, the sum of its factors' exponents counts, whether or not it carries.
  int largest = c != 0.0f ? exponent(c) : -5000;
  for (int s = 0; s < kProducts; ++s) {
    if (a[s] != 0.0f && b[s] != 0.0f) {
      largest = std::max(largest, exponent(a[s]) + exponent(b[s]));
    }
  }
  if (largest == -5000) return 0.0f;
  const int last = largest - 23 - kExtraBits;
  const double scale = power_of_two(-last);
  double sum = std::trunc(static_cast<double>(c) * scale);
  for (int s = 0; s < kProducts; ++s) {
    sum += std::trunc(static_cast<double>(a[s]) * static_cast<double>(b[s]) * scale);
  }
  const double value = sum * power_of_two(last);
  const float rounded = static_cast<float>(value);
  return std::fabs(rounded) > std::fabs(value) ? std::nextafterf(rounded, 0.0f) : rounded;
}

}  // namespace tensor_core

// What multiply_slab of tile.cuh asks of the instruction, in its order.
template <bool kSplitA, bool kSplitB>
inline float eight_products(const float (&a)[8], const float (&b)[8]) {
  float a_high[8], a_low[8], b_high[8], b_low[8], sum = 0.0f;
  for (int s = 0; s < 8; ++s) {
    a_high[s] = tensor_core::tf32(a[s]);
    a_low[s] = tensor_core::tf32(a[s] - a_high[s]);
    b_high[s] = tensor_core::tf32(b[s]);
    b_low[s] = tensor_core::tf32(b[s] - b_high[s]);
  }
  const auto instruction = [&](const float* left, const float* right) {
    for (int s = 0; s < 8; s += tensor_core::kProducts) {
      sum = tensor_core::step(left + s, right + s, sum);
    }
  };
  if (kSplitA) instruction(a_low, b_high);
  if (kSplitB) instruction(a_high, b_low);
  instruction(a_high, b_high);
  return sum;
}

}  // namespace xferpipe::cuda
