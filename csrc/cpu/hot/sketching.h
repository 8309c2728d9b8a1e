// Inner loops of the random projections.
#pragma once
#include "../../core/random.h"
#include "pack.h"

namespace xferpipe::XFERPIPE_ISA {

// table[2 j], table[2 j + 1]: bucket and sign of the coordinates of generator call `call` + j.
static void bucket_table(uint64_t seed, uint64_t call, int64_t calls, uint32_t buckets,
                         uint32_t* table) {
  int64_t j = 0;
#if defined(__AVX512F__) || defined(__AVX2__)
  // Sixteen calls side by side, round by round: the compiler makes vectors of it.
  constexpr int kCalls = 16;
  for (; j + kCalls <= calls; j += kCalls) {
    uint32_t c0[kCalls], c1[kCalls], c2[kCalls], c3[kCalls];
    for (int l = 0; l < kCalls; ++l) {
      const PhiloxState s = philox_start(Stream::kSparse, call + j + l);
      c0[l] = s.c0, c1[l] = s.c1, c2[l] = s.c2, c3[l] = s.c3;
    }
    uint64_t key = seed;
    for (int round = 0; round < kPhiloxRounds; ++round, key = philox_next_key(key)) {
      for (int l = 0; l < kCalls; ++l) {
        PhiloxState s = {c0[l], c1[l], c2[l], c3[l]};
        philox_round(key, &s);
        c0[l] = s.c0, c1[l] = s.c1, c2[l] = s.c2, c3[l] = s.c3;
      }
    }
    for (int l = 0; l < kCalls; ++l) {
      const Words words = {{c0[l], c1[l], c2[l], c3[l]}};
      table[2 * (j + l)] = bucket_and_sign(words, 0, buckets);
      table[2 * (j + l) + 1] = bucket_and_sign(words, 1, buckets);
    }
  }
#endif
  for (; j < calls; ++j) {
    const Words words = philox(seed, Stream::kSparse, call + j);
    table[2 * j] = bucket_and_sign(words, 0, buckets);
    table[2 * j + 1] = bucket_and_sign(words, 1, buckets);
  }
}

// sums[bucket][sample] += +-value for up to sixteen samples; the table's top bit is the sign.
static void scatter(const char* const* rows, int64_t count, int64_t columns, bool bfloat16,
                    const uint32_t* table, float* sums, float* buffer) {
  constexpr int64_t kLanes = 16, kPiece = 1024;
  for (int64_t start = 0; start < columns; start += kPiece) {
    const int64_t here = columns - start < kPiece ? columns - start : kPiece;
    const char* shifted[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      shifted[i] = i < count ? rows[i] + (bfloat16 ? 2 : 4) * start : nullptr;
    }
#if defined(__AVX512F__)
    // Nothing is fetched ahead: gradients are often a power of two apart, and then sixteen rows share
    // one set of the caches, where half of what was fetched would be gone before its use.
    pack_16<false>(shifted, nullptr, kLanes, here, kLanes, bfloat16, buffer);
#elif defined(__AVX2__)
    pack_8(shifted, nullptr, 8, here, kLanes, bfloat16, buffer);
    pack_8(shifted + 8, nullptr, 8, here, kLanes, bfloat16, buffer + 8);
#else
    pack_rows(shifted, nullptr, kLanes, here, kLanes, bfloat16, buffer);
#endif
    for (int64_t j = 0; j < here; ++j) {
      const uint32_t entry = table[start + j];
      float* bucket = sums + static_cast<int64_t>(entry & 0x7fffffffu) * kLanes;
#if defined(__AVX512F__)
      const __m512i sign = _mm512_set1_epi32(static_cast<int32_t>(entry & 0x80000000u));
      const __m512i value = _mm512_loadu_si512(buffer + j * kLanes);
      const __m512 moved = _mm512_castsi512_ps(_mm512_xor_si512(value, sign));
      _mm512_storeu_ps(bucket, _mm512_add_ps(_mm512_loadu_ps(bucket), moved));
#elif defined(__AVX2__)
      const __m256 sign =
          _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int32_t>(entry & 0x80000000u)));
      const __m256 first = _mm256_xor_ps(load(buffer + j * kLanes), sign);
      const __m256 second = _mm256_xor_ps(load(buffer + j * kLanes + 8), sign);
      store(bucket, add(load(bucket), first));
      store(bucket + 8, add(load(bucket + 8), second));
#else
      const float sign = entry >> 31 ? -1.0f : 1.0f;
      for (int64_t i = 0; i < kLanes; ++i) bucket[i] += sign * buffer[j * kLanes + i];
#endif
    }
  }
}

// into[j] += +-row[first + j], the sign from bit first_bit + j.
static void add_signed(const char* row, int64_t first, int64_t count, bool bfloat16,
                       const uint32_t* bits, int64_t first_bit, float* into) {
  int64_t j = 0;
#if defined(__AVX512F__)
  // Sixteen bits at a time from wherever they start.
  for (; j + 16 <= count; j += 16) {
    const int64_t bit = first_bit + j;
    uint64_t window = bits[bit / 32];
    if (bit % 32 > 16) window |= static_cast<uint64_t>(bits[bit / 32 + 1]) << 32;
    const __mmask16 minus = static_cast<__mmask16>(window >> (bit % 32));
    const __m512 value = load_16(row, first + j, first + j + 16, bfloat16);
    const __m512 sum = _mm512_loadu_ps(into + j);
    _mm512_storeu_ps(into + j, _mm512_mask_sub_ps(_mm512_add_ps(sum, value), minus, sum, value));
  }
#elif defined(__AVX2__)
  // Eight bits at a time from wherever they start, each moved to the sign of its lane.
  const __m256i shift = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
  const __m256i top = _mm256_set1_epi32(static_cast<int32_t>(0x80000000u));
  for (; j + 8 <= count; j += 8) {
    const int64_t bit = first_bit + j;
    uint64_t window = bits[bit / 32];
    if (bit % 32 > 24) window |= static_cast<uint64_t>(bits[bit / 32 + 1]) << 32;
    const __m256i all = _mm256_set1_epi32(static_cast<int32_t>(window >> (bit % 32)));
    const __m256i sign = _mm256_and_si256(_mm256_sllv_epi32(all, shift), top);
    const __m256 value = load_8(row, first + j, bfloat16);
    store(into + j, add(load(into + j), _mm256_xor_ps(value, _mm256_castsi256_ps(sign))));
  }
#endif
  for (; j < count; ++j) {
    const int64_t bit = first_bit + j;
    const bool minus = bits[bit / 32] >> (bit % 32) & 1;
    const float value = element(row, first + j, bfloat16);
    into[j] += minus ? -value : value;
  }
}

}  // namespace xferpipe::XFERPIPE_ISA
