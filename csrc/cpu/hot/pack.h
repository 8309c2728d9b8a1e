// Packing: rows of the caller's matrix become panels that the register tile reads in order.
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
#endif

static void pack_rows(const char* const* rows, const float* scales, int64_t count, int64_t depth,
                      int64_t width, bool bfloat16, float* out) {
  for (int64_t first = 0; first < count; first += width, out += depth * width) {
    const int64_t here = count - first < width ? count - first : width;
#if defined(__AVX512F__)
    for (int64_t at = 0; at < width; at += 16) {
      const char* part[16];
      float part_scales[16];
      const int64_t lanes = width - at < 16 ? width - at : 16;
      for (int64_t r = 0; r < lanes; ++r) {
        part[r] = at + r < here ? rows[first + at + r] : nullptr;
        part_scales[r] = scales && at + r < here ? scales[first + at + r] : 1.0f;
      }
      pack_16<true>(part, scales ? part_scales : nullptr, lanes, depth, width, bfloat16, out + at);
    }
#else
    for (int64_t r = 0; r < width; ++r) {
      const char* row = r < here ? rows[first + r] : nullptr;
      if (!row) {
        for (int64_t k = 0; k < depth; ++k) out[k * width + r] = 0.0f;
        continue;
      }
      const float scale = scales ? scales[first + r] : 1.0f;
      for (int64_t k = 0; k < depth; ++k) {
        const float value = element(row, k, bfloat16);
        out[k * width + r] = scales ? value * scale : value;
      }
    }
#endif
  }
}

static void pack_columns(const float* const* columns, int64_t count, int64_t depth, int64_t step,
                         float* out) {
#if defined(__AVX512F__)
  // Each vector is merged from runs of neighbouring columns; `from` is where its lane 0 would be.
  struct Run {
    const float* from;
    __mmask16 lanes;
  };
  for (int v = 0; v < kColumnVectors; ++v) {
    Run runs[16];
    int n = 0;
    for (int64_t l = 0; l < 16 && v * 16 + l < count; ++l) {
      const float* at = columns[v * 16 + l];
      if (n == 0 || at != runs[n - 1].from + l) runs[n++] = {at - l, 0};
      runs[n - 1].lanes |= static_cast<__mmask16>(1u << l);
    }
    float* to = out + v * 16;
    if (n == 1) {
      for (int64_t k = 0; k < depth; ++k) {
        store(to + k * kColumnPanel, _mm512_maskz_loadu_ps(runs[0].lanes, runs[0].from + k * step));
      }
    } else if (n == 2) {
      for (int64_t k = 0; k < depth; ++k) {
        const __m512 first = _mm512_maskz_loadu_ps(runs[0].lanes, runs[0].from + k * step);
        store(to + k * kColumnPanel,
              _mm512_mask_loadu_ps(first, runs[1].lanes, runs[1].from + k * step));
      }
    } else {
      for (int64_t k = 0; k < depth; ++k) {
        __m512 all = _mm512_setzero_ps();
        for (int r = 0; r < n; ++r) {
          all = _mm512_mask_loadu_ps(all, runs[r].lanes, runs[r].from + k * step);
        }
        store(to + k * kColumnPanel, all);
      }
    }
  }
#else
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t c = 0; c < kColumnPanel; ++c) {
      out[k * kColumnPanel + c] = c < count ? columns[c][k * step] : 0.0f;
    }
  }
#endif
}

static void pack_pairs(const char* const* rows, int64_t count, int64_t depth, int64_t width,
                       float* out) {
  const int64_t pairs = (depth + 1) / 2;
  // An odd depth ends in a pair whose second half is zero, so the last pair is made by hand.
  const int64_t whole = depth / 2;
  for (int64_t first = 0; first < count; first += width) {
    const int64_t here = count - first < width ? count - first : width;
    float* panel = out + first * pairs;
#if defined(__AVX512F__)
    for (int64_t at = 0; at < width; at += 16) {
      const char* part[16];
      const int64_t lanes = width - at < 16 ? width - at : 16;
      for (int64_t r = 0; r < lanes; ++r) {
        part[r] = at + r < here ? rows[first + at + r] : nullptr;
      }
      pack_16<true>(part, nullptr, lanes, whole, width, false, panel + at);
    }
#else
    for (int64_t r = 0; r < width; ++r) {
      for (int64_t k = 0; k < whole; ++k) {
        const char* row = r < here ? rows[first + r] : nullptr;
        panel[k * width + r] = row ? element(row, k, false) : 0.0f;
      }
    }
#endif
    if (whole == pairs) continue;
    for (int64_t r = 0; r < width; ++r) {
      uint32_t bits = 0;
      if (r < here && rows[first + r]) std::memcpy(&bits, rows[first + r] + 4 * whole, 2);
      std::memcpy(panel + whole * width + r, &bits, 4);
    }
  }
}

static void pack_step(const float* values, int64_t columns, int64_t depth, int64_t step,
                      float* left, float* right) {
  for (int64_t c = 0; c < columns; c += kColumnPanel) {
    float* out = right + c * depth + step * kColumnPanel;
    for (int v = 0; v < kColumnVectors; ++v) store(out + v * kWidth, load(values + c + v * kWidth));
  }
  for (int64_t r = 0; r < columns; r += kRowPanel) {
    float* out = left + r * depth + step * kRowPanel;
    for (int i = 0; i < kRowPanel; ++i) out[i] = values[r + i];
  }
}

static void copy_left(const float* right, int64_t first, int64_t count, int64_t depth, float* out) {
#if defined(__AVX512F__)
  const __mmask16 lanes = static_cast<__mmask16>((1u << count) - 1);
  for (int64_t s = 0; s < depth; ++s) {
    _mm512_mask_storeu_ps(out + s * kRowPanel, lanes,
                          _mm512_maskz_loadu_ps(lanes, right + s * kColumnPanel + first));
  }
#else
  for (int64_t s = 0; s < depth; ++s) {
    for (int64_t j = 0; j < count; ++j) out[s * kRowPanel + j] = right[s * kColumnPanel + first + j];
  }
#endif
}

// Inner product of two rows.
static float dot(const char* a, const char* b, int64_t columns, bool bfloat16) {
  float sum = 0.0f;
#if defined(__AVX512F__)
  __m512 total = _mm512_setzero_ps();
  for (int64_t k = 0; k < columns; k += 16) {
    const __m512 x = load_16(a, k, columns, bfloat16), y = load_16(b, k, columns, bfloat16);
    total = _mm512_fmadd_ps(x, y, total);
  }
  sum = _mm512_reduce_add_ps(total);
#else
  float part[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  int64_t k = 0;
  for (; k + 8 <= columns; k += 8) {
    for (int l = 0; l < 8; ++l) part[l] += element(a, k + l, bfloat16) * element(b, k + l, bfloat16);
  }
  for (; k < columns; ++k) part[0] += element(a, k, bfloat16) * element(b, k, bfloat16);
  for (int l = 0; l < 8; ++l) sum += part[l];
#endif
  return sum;
}

static double squared_norm(const char* row, int64_t columns, bool bfloat16) {
  double sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  int64_t k = 0;
#if defined(__AVX512F__)
  __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
  for (; k < columns; k += 16) {
    const __m512 v = load_16(row, k, columns, bfloat16);
    const __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    const __m512d b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    low = _mm512_fmadd_pd(a, a, low);
    high = _mm512_fmadd_pd(b, b, high);
  }
  _mm512_storeu_pd(sum, _mm512_add_pd(low, high));
#else
  for (; k + 8 <= columns; k += 8) {
    for (int l = 0; l < 8; ++l) {
      const double v = element(row, k + l, bfloat16);
      sum[l] += v * v;
    }
  }
  for (; k < columns; ++k) {
    const double v = element(row, k, bfloat16);
    sum[0] += v * v;
  }
#endif
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

}  // namespace xferpipe::XFERPIPE_ISA
