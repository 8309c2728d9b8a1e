// Rows into columns in registers: a square of the matrix at a time.
#pragma once
#include "vector.h"

namespace xferpipe::XFERPIPE_ISA {

#if defined(__AVX512F__)
// Sixteen rows of sixteen 32-bit values, transposed in registers.
static inline void transpose_16(__m512 r[16]) {
  __m512 t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 1]);
    const __m512d c = _mm512_castps_pd(t[4 * i + 2]), d = _mm512_castps_pd(t[4 * i + 3]);
    r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

static inline __m512 load_16(const char* row, int64_t k, int64_t depth, bool bfloat16) {
  const int64_t left = depth - k;
  const __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  if (!bfloat16) return _mm512_maskz_loadu_ps(mask, row + 4 * k);
  const __m256i half = _mm256_maskz_loadu_epi16(mask, row + 2 * k);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

// Up to sixteen rows into columns [at, at + lanes) of a panel `width` floats wide. Sixteen rows are
// more streams than the hardware prefetches, so deep rows ask for it (`kAhead`).
template <bool kAhead>
static inline void pack_16(const char* const* rows, const float* scales, int64_t lanes,
                           int64_t depth, int64_t width, bool bfloat16, float* out) {
  const __mmask16 mask = static_cast<__mmask16>((1u << lanes) - 1);
  for (int64_t k = 0; k < depth; k += 16) {
    __m512 block[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      if (kAhead && r < lanes && rows[r]) _mm_prefetch(rows[r] + (bfloat16 ? 2 : 4) * (k + 128), _MM_HINT_T0);
      block[r] = r < lanes && rows[r] ? load_16(rows[r], k, depth, bfloat16) : _mm512_setzero_ps();
      if (scales && r < lanes) block[r] = _mm512_mul_ps(block[r], _mm512_set1_ps(scales[r]));
    }
    transpose_16(block);
    const int64_t steps = depth - k < 16 ? depth - k : 16;
    if (steps == 16) {
#pragma GCC unroll 16
      for (int s = 0; s < 16; ++s) _mm512_mask_storeu_ps(out + (k + s) * width, mask, block[s]);
    } else {
      for (int64_t s = 0; s < steps; ++s) {
        _mm512_mask_storeu_ps(out + (k + s) * width, mask, block[s]);
      }
    }
  }
}
#elif defined(__AVX2__)
// Eight rows of eight 32-bit values, transposed in registers.
static inline void transpose_8(__m256 r[8]) {
  __m256 t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  __m256 u[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

static inline __m256 load_8(const char* row, int64_t k, bool bfloat16) {
  if (!bfloat16) return _mm256_loadu_ps(reinterpret_cast<const float*>(row + 4 * k));
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * k));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

// The first `lanes` lanes: a left panel is six wide. (Masked stores are slow on AMD's processors.)
static inline void store_lanes(float* out, __m256 v, int64_t lanes) {
  if (lanes == 8) return _mm256_storeu_ps(out, v);
  __m128 part = _mm256_castps256_ps128(v);
  if (lanes & 4) {
    _mm_storeu_ps(out, part);
    out += 4;
    part = _mm256_extractf128_ps(v, 1);
  }
  if (lanes & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(out), part);
    out += 2;
    part = _mm_movehl_ps(part, part);
  }
  if (lanes & 1) _mm_store_ss(out, part);
}

// Up to eight rows into columns [at, at + lanes) of a panel `width` floats wide.
static inline void pack_8(const char* const* rows, const float* scales, int64_t lanes,
                          int64_t depth, int64_t width, bool bfloat16, float* out) {
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    __m256 block[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) {
      block[r] = r < lanes && rows[r] ? load_8(rows[r], k, bfloat16) : zero();
      if (scales && r < lanes) block[r] = _mm256_mul_ps(block[r], _mm256_set1_ps(scales[r]));
    }
    transpose_8(block);
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) store_lanes(out + (k + s) * width, block[s], lanes);
  }
  for (; k < depth; ++k) {
    for (int64_t r = 0; r < lanes; ++r) {
      const float value = rows[r] ? element(rows[r], k, bfloat16) : 0.0f;
      out[k * width + r] = scales ? value * scales[r] : value;
    }
  }
}
#endif

}  // namespace xferpipe::XFERPIPE_ISA
