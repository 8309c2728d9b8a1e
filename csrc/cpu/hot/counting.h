// Counting epilogues: a finished tile of scores is compared with thresholds and thrown away.
#pragma once
#include "vector.h"

namespace xferpipe::XFERPIPE_ISA {

static inline int64_t keep_above(const float* scores, int64_t columns, float threshold,
                                 float* out) {
  int64_t kept = 0;
#if defined(__AVX512F__)
  const __m512 limit = _mm512_set1_ps(threshold);
  for (int64_t j = 0; j < columns; j += 16) {
    const __mmask16 valid =
        columns - j >= 16 ? 0xffff : static_cast<__mmask16>((1u << (columns - j)) - 1);
    const __m512 v = _mm512_maskz_loadu_ps(valid, scores + j);
    const __mmask16 above = _mm512_mask_cmp_ps_mask(valid, v, limit, _CMP_GT_OQ);
    if (above == 0) continue;
    // A compressing store to memory is microcoded on some machines; through a register it is not.
    _mm512_storeu_ps(out + kept, _mm512_maskz_compress_ps(above, v));
    kept += __builtin_popcount(above);
  }
#else
  int64_t j = 0;
#if defined(__AVX2__)
  const __m256 limit = _mm256_set1_ps(threshold);
  for (; j + 8 <= columns; j += 8) {
    const __m256 above = _mm256_cmp_ps(_mm256_loadu_ps(scores + j), limit, _CMP_GT_OQ);
    uint32_t left = static_cast<uint32_t>(_mm256_movemask_ps(above));
    for (; left; left &= left - 1) out[kept++] = scores[j + __builtin_ctz(left)];
  }
#endif
  for (; j < columns; ++j) {
    out[kept] = scores[j];
    kept += scores[j] > threshold;
  }
#endif
  return kept;
}

// Thresholds in registers, one score broadcast against all of them.
template <int kGroups>
static inline void count_group(const float* kept, int64_t count, const float* thresholds,
                               int32_t* counts) {
#if defined(__AVX512F__)
  __m512 limit[kGroups];
  __m512i total[kGroups];
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) {
    limit[g] = _mm512_loadu_ps(thresholds + 16 * g);
    total[g] = _mm512_loadu_si512(counts + 16 * g);
  }
  const __m512i one = _mm512_set1_epi32(1);
  for (int64_t s = 0; s < count; ++s) {
    const __m512 score = _mm512_set1_ps(kept[s]);
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) {
      const __mmask16 above = _mm512_cmp_ps_mask(score, limit[g], _CMP_GT_OQ);
      total[g] = _mm512_mask_add_epi32(total[g], above, total[g], one);
    }
  }
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) _mm512_storeu_si512(counts + 16 * g, total[g]);
#elif defined(__AVX2__)
  // Two vectors at a time; a true comparison is -1.
  for (int t = 0; t < 16 * kGroups; t += 16) {
    const __m256 first = _mm256_loadu_ps(thresholds + t), second = _mm256_loadu_ps(thresholds + t + 8);
    __m256i* const out = reinterpret_cast<__m256i*>(counts + t);
    __m256i low = _mm256_loadu_si256(out), high = _mm256_loadu_si256(out + 1);
    for (int64_t s = 0; s < count; ++s) {
      const __m256 score = _mm256_broadcast_ss(kept + s);
      const __m256 one = _mm256_cmp_ps(score, first, _CMP_GT_OQ);
      const __m256 other = _mm256_cmp_ps(score, second, _CMP_GT_OQ);
      low = _mm256_sub_epi32(low, _mm256_castps_si256(one));
      high = _mm256_sub_epi32(high, _mm256_castps_si256(other));
    }
    _mm256_storeu_si256(out, low);
    _mm256_storeu_si256(out + 1, high);
  }
#else
  for (int64_t s = 0; s < count; ++s) {
    const float score = kept[s];
    for (int t = 0; t < 16 * kGroups; ++t) counts[t] += score > thresholds[t];
  }
#endif
}

static void count_above(const float* scores, int64_t columns, const float* thresholds,
                        int64_t count, int32_t* counts, float* buffer) {
  const int64_t kept = keep_above(scores, columns, thresholds[count - 1], buffer);
  if (kept == 0) return;
  if (count <= kMarkedAbove) {
    const int64_t groups = (count + 15) / 16;
    int64_t g = 0;
    for (; g + 4 <= groups; g += 4) {
      count_group<4>(buffer, kept, thresholds + 16 * g, counts + 16 * g);
    }
    switch (groups - g) {
      case 3: count_group<3>(buffer, kept, thresholds + 16 * g, counts + 16 * g); break;
      case 2: count_group<2>(buffer, kept, thresholds + 16 * g, counts + 16 * g); break;
      case 1: count_group<1>(buffer, kept, thresholds + 16 * g, counts + 16 * g); break;
      default: break;
    }
    return;
  }
  // Many thresholds: mark where each score falls. A score that falls at t beats every threshold from
  // t on, so the caller turns marks into counts with one running sum after the last tile.
  for (int64_t s = 0; s < kept; ++s) {
    const float score = buffer[s];
    int64_t low = 0, size = count;
    while (size > 1) {
      const int64_t half = size / 2;
      low += thresholds[low + half - 1] >= score ? half : 0;
      size -= half;
    }
    low += thresholds[low] >= score;
    counts[low] += 1;
  }
}

static int64_t select_above(const float* scores, int64_t columns, float threshold, int32_t* out) {
  int64_t kept = 0;
#if defined(__AVX512F__)
  const __m512 limit = _mm512_set1_ps(threshold);
  const __m512i step = _mm512_set1_epi32(16);
  __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int64_t j = 0; j < columns; j += 16, index = _mm512_add_epi32(index, step)) {
    const __mmask16 valid =
        columns - j >= 16 ? 0xffff : static_cast<__mmask16>((1u << (columns - j)) - 1);
    const __m512 v = _mm512_maskz_loadu_ps(valid, scores + j);
    const __mmask16 above = _mm512_mask_cmp_ps_mask(valid, v, limit, _CMP_GT_OQ);
    if (above == 0) continue;
    _mm512_storeu_si512(out + kept, _mm512_maskz_compress_epi32(above, index));
    kept += __builtin_popcount(above);
  }
#else
  int64_t j = 0;
#if defined(__AVX2__)
  const __m256 limit = _mm256_set1_ps(threshold);
  for (; j + 8 <= columns; j += 8) {
    const __m256 above = _mm256_cmp_ps(_mm256_loadu_ps(scores + j), limit, _CMP_GT_OQ);
    uint32_t left = static_cast<uint32_t>(_mm256_movemask_ps(above));
    for (; left; left &= left - 1) out[kept++] = static_cast<int32_t>(j + __builtin_ctz(left));
  }
#endif
  for (; j < columns; ++j) {
    out[kept] = static_cast<int32_t>(j);
    kept += scores[j] > threshold;
  }
#endif
  return kept;
}

static void add_to_double(const float* from, int64_t count, double* into) {
  int64_t j = 0;
#if defined(__AVX512F__)
  for (; j + 8 <= count; j += 8) {
    const __m512d sum =
        _mm512_add_pd(_mm512_loadu_pd(into + j), _mm512_cvtps_pd(_mm256_loadu_ps(from + j)));
    _mm512_storeu_pd(into + j, sum);
  }
#elif defined(__AVX2__)
  for (; j + 4 <= count; j += 4) {
    const __m256d sum =
        _mm256_add_pd(_mm256_loadu_pd(into + j), _mm256_cvtps_pd(_mm_loadu_ps(from + j)));
    _mm256_storeu_pd(into + j, sum);
  }
#endif
  for (; j < count; ++j) into[j] += from[j];
}

}  // namespace xferpipe::XFERPIPE_ISA
