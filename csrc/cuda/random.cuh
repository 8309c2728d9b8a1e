// Bodies that write random matrices; see core/random.h.
#pragma once
#include "../core/random.h"
#include "rows.cuh"

namespace xferpipe::cuda {

// Columns first .. first + columns - 1 of `rows` rows of a matrix `total` wide; zeros beyond it.
struct RandomMatrix {
  uint64_t seed;
  int64_t rows, first, columns, total;
};

constexpr int kSignBytes = kThreads * 16;

// A thread makes the words of 128 signs, and neighbouring threads write neighbouring octets.
template <class Context>
XFERPIPE_HOST_DEVICE inline void signs_body(Context& context, const RandomMatrix& matrix,
                                            Stream stream, bool float16, uint16_t* out,
                                            uint32_t* shared) {
  const int thread = context.thread();
  const int64_t blocks = (matrix.columns + 127) / 128;  // of a row
  const int64_t begin = context.block_x() * kThreads;
  const Words drawn = philox(matrix.seed, stream,
                             sign_index((begin + thread) / blocks, matrix.total,
                                        matrix.first / 128 + (begin + thread) % blocks));
#pragma unroll
  for (int w = 0; w < 4; ++w) shared[4 * thread + w] = drawn.w[w];
  context.sync();
  // The row and block where this block of threads begins, and from there in 32 bits.
  const int64_t first_row = begin / blocks;
  const auto width = static_cast<uint32_t>(blocks);
  const auto skip = static_cast<uint32_t>(begin - first_row * blocks);
  const uint32_t one = float16 ? 0x3c003c00u : 0x3f803f80u;  // two of them
  for (uint32_t e = thread; e < kThreads * 16; e += kThreads) {
    const uint32_t at = skip + e / 16, row = at / width, octet = e % 16;
    const int64_t column = static_cast<int64_t>(at - row * width) * 128 + octet * 8;
    const int64_t r = first_row + row;
    if (r >= matrix.rows || column >= matrix.columns) continue;
    const uint32_t bits = shared[4 * (e / 16) + octet / 4] >> (octet % 4 * 8);
    const int64_t held = matrix.total - matrix.first - column;
    uint16_t* own = out + r * matrix.columns + column;
    Sixteen packed;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      packed.word[i] = one | (bits >> (2 * i) & 1) << 15 | (bits >> (2 * i + 1) & 1) << 31;
    }
    if (held >= 8 && matrix.columns % 8 == 0) {
      *reinterpret_cast<Sixteen*>(own) = packed;
      continue;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const auto sign = static_cast<uint16_t>(packed.word[i / 2] >> (i % 2 * 16));
      if (column + i < matrix.columns) own[i] = i < held ? sign : 0;
    }
  }
}

// A thread makes four normal values.
template <class Context>
XFERPIPE_HOST_DEVICE inline void normals_body(Context& context, const RandomMatrix& matrix,
                                              float* out) {
  const int64_t words = (matrix.columns + 3) / 4;
  const int64_t at = context.block_x() * kThreads + context.thread();
  if (at >= matrix.rows * words) return;
  const int64_t row = at / words, begin = at % words * 4, column = matrix.first + begin;
  const uint64_t index =
      static_cast<uint64_t>(row) * static_cast<uint64_t>((matrix.total + 3) / 4) +
      static_cast<uint64_t>(column / 4);
  const Words drawn = philox(matrix.seed, Stream::kDense, index);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (begin + i >= matrix.columns) break;
    out[row * matrix.columns + begin + i] = column + i < matrix.total ? gaussian(drawn.w[i]) : 0.0f;
  }
}

}  // namespace xferpipe::cuda
