// Bodies that write random matrices; see core/random.h. A thread makes 32 signs or 4 normal values.
#pragma once
#include "../core/random.h"
#include "context.cuh"

namespace xferpipe::cuda {

// Columns first .. first + columns - 1 of `rows` rows of a matrix `total` wide; zeros beyond it.
struct RandomMatrix {
  uint64_t seed;
  int64_t rows, first, columns, total;
};

struct alignas(16) EightHalves {
  uint16_t value[8];
};

template <class Context>
XFERPIPE_HOST_DEVICE inline void signs_body(Context& context, const RandomMatrix& matrix,
                                            Stream stream, bool float16, uint16_t* out) {
  const int64_t words = (matrix.columns + 31) / 32;
  const int64_t at = context.block_x() * kThreads + context.thread();
  if (at >= matrix.rows * words) return;
  const int64_t row = at / words, begin = at % words * 32, column = matrix.first + begin;
  const Words drawn = philox(matrix.seed, stream, sign_index(row, matrix.total, column / 128));
  const int which = static_cast<int>(column / 32 % 4);
  const uint32_t bits =
      which == 0 ? drawn.w[0] : which == 1 ? drawn.w[1] : which == 2 ? drawn.w[2] : drawn.w[3];
  const uint32_t one = float16 ? 0x3c00u : 0x3f80u;
  uint16_t* own = out + row * matrix.columns + begin;
  const int64_t held = matrix.total - column, room = matrix.columns - begin;
#pragma unroll
  for (int group = 0; group < 32; group += 8) {
    EightHalves eight;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t sign = (bits >> (group + i) & 1) << 15;
      eight.value[i] = static_cast<uint16_t>(group + i < held ? one | sign : 0u);
    }
    if (group + 8 <= room && matrix.columns % 8 == 0) {
      *reinterpret_cast<EightHalves*>(own + group) = eight;
      continue;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (group + i < room) own[group + i] = eight.value[i];
    }
  }
}

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
