// Packing: rows of the caller's matrix become panels that the register tile reads in order.
#pragma once
#include "transpose.h"

namespace xferpipe::XFERPIPE_ISA {

static void pack_rows(const char* const* rows, const float* scales, int64_t count, int64_t depth,
                      int64_t width, bool bfloat16, float* out) {
  for (int64_t first = 0; first < count; first += width, out += depth * width) {
    const int64_t here = count - first < width ? count - first : width;
#if defined(__AVX512F__) || defined(__AVX2__)
    for (int64_t at = 0; at < width; at += kWidth) {
      const char* part[kWidth];
      float part_scales[kWidth];
      const int64_t lanes = width - at < kWidth ? width - at : kWidth;
      for (int64_t r = 0; r < lanes; ++r) {
        part[r] = at + r < here ? rows[first + at + r] : nullptr;
        part_scales[r] = scales && at + r < here ? scales[first + at + r] : 1.0f;
      }
      const float* own = scales ? part_scales : nullptr;
#if defined(__AVX512F__)
      pack_16<true>(part, own, lanes, depth, width, bfloat16, out + at);
#else
      pack_8(part, own, lanes, depth, width, bfloat16, out + at);
#endif
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
  const float* from = right + first;
  if (count == kRowPanel) {  // known to the compiler
    for (int64_t s = 0; s < depth; ++s) {
      std::memcpy(out + s * kRowPanel, from + s * kColumnPanel, 4 * kRowPanel);
    }
    return;
  }
  for (int64_t s = 0; s < depth; ++s) {
    for (int64_t j = 0; j < count; ++j) out[s * kRowPanel + j] = from[s * kColumnPanel + j];
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
#if defined(__AVX2__)
  __m256 total = zero(), second = zero();
  for (; k + 16 <= columns; k += 16) {
    total = multiply_add(load_8(a, k, bfloat16), load_8(b, k, bfloat16), total);
    second = multiply_add(load_8(a, k + 8, bfloat16), load_8(b, k + 8, bfloat16), second);
  }
  store(part, add(total, second));
#else
  for (; k + 8 <= columns; k += 8) {
    for (int l = 0; l < 8; ++l) part[l] += element(a, k + l, bfloat16) * element(b, k + l, bfloat16);
  }
#endif
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
#if defined(__AVX2__)
  // The square of a float32 value is exact in float64.
  __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
  for (; k + 8 <= columns; k += 8) {
    const __m256 v = load_8(row, k, bfloat16);
    const __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
    const __m256d b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    low = _mm256_fmadd_pd(a, a, low);
    high = _mm256_fmadd_pd(b, b, high);
  }
  _mm256_storeu_pd(sum, low);
  _mm256_storeu_pd(sum + 4, high);
#else
  for (; k + 8 <= columns; k += 8) {
    for (int l = 0; l < 8; ++l) {
      const double v = element(row, k + l, bfloat16);
      sum[l] += v * v;
    }
  }
#endif
  for (; k < columns; ++k) {
    const double v = element(row, k, bfloat16);
    sum[0] += v * v;
  }
#endif
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

}  // namespace xferpipe::XFERPIPE_ISA
