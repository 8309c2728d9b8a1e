// One register of floats, under the same names for each instruction set.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#define XFERPIPE_ISA avx512
namespace xferpipe::avx512 {
constexpr int64_t kWidth = 16, kRowPanel = 14, kColumnVectors = 2;
using Vector = __m512;
static inline Vector load(const float* p) { return _mm512_loadu_ps(p); }
static inline void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
static inline Vector broadcast(const float* p) { return _mm512_set1_ps(*p); }
static inline Vector zero() { return _mm512_setzero_ps(); }
static inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
static inline Vector multiply_add(Vector a, Vector b, Vector c) {
  return _mm512_fmadd_ps(a, b, c);
}
}  // namespace xferpipe::avx512
#elif defined(__AVX2__)
#include <immintrin.h>
#define XFERPIPE_ISA avx2
namespace xferpipe::avx2 {
constexpr int64_t kWidth = 8, kRowPanel = 6, kColumnVectors = 2;
using Vector = __m256;
static inline Vector load(const float* p) { return _mm256_loadu_ps(p); }
static inline void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
static inline Vector broadcast(const float* p) { return _mm256_broadcast_ss(p); }
static inline Vector zero() { return _mm256_setzero_ps(); }
static inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
static inline Vector multiply_add(Vector a, Vector b, Vector c) {
  return _mm256_fmadd_ps(a, b, c);
}
}  // namespace xferpipe::avx2
#else
#define XFERPIPE_ISA scalar
namespace xferpipe::scalar {
constexpr int64_t kWidth = 4, kRowPanel = 4, kColumnVectors = 2;
// The compiler's own vector type: four floats on any machine that has registers for them.
typedef float Vector __attribute__((vector_size(16)));
static inline Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
static inline void store(float* p, Vector v) { std::memcpy(p, &v, sizeof v); }
static inline Vector broadcast(const float* p) { return Vector{*p, *p, *p, *p}; }
static inline Vector zero() { return Vector{0.0f, 0.0f, 0.0f, 0.0f}; }
static inline Vector add(Vector a, Vector b) { return a + b; }
static inline Vector multiply_add(Vector a, Vector b, Vector c) { return a * b + c; }
}  // namespace xferpipe::scalar
#endif

namespace xferpipe::XFERPIPE_ISA {
constexpr int64_t kColumnPanel = kWidth * kColumnVectors;

static inline float widen(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
static inline float element(const char* row, int64_t k, bool bfloat16) {
  if (bfloat16) {
    uint16_t half;
    std::memcpy(&half, row + 2 * k, 2);
    return widen(half);
  }
  float value;
  std::memcpy(&value, row + 4 * k, 4);
  return value;
}
}  // namespace xferpipe::XFERPIPE_ISA
