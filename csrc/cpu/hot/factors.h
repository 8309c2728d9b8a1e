// Gradients of a convolution from its factors, one sample per lane.
#pragma once
#include "vector.h"

namespace xferpipe::XFERPIPE_ISA {

// Accumulators of a block: as many as stay in registers beside the operands.
constexpr int kBlockRows = kWidth == 4 ? 2 : 6, kBlockColumns = kWidth == 8 ? 2 : 4;
// Lanes that a block computes in turn: of AVX2's two vectors, each is half of the same cache lines.
constexpr int64_t kLanesTogether = kWidth == 8 ? 2 * kWidth : kWidth;

template <int kRows, int kColumns>
static inline void factor_block(int64_t positions, const float* left, const float* right,
                                int64_t columns, bool add, float* out) {
  Vector sum[kRows][kColumns];
  const int64_t apart = positions * kColumnPanel, row = columns * kColumnPanel;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      sum[r][c] = add ? load(out + r * row + c * kColumnPanel) : zero();
    }
  }
  for (int64_t q = 0; q < positions; ++q, left += kColumnPanel, right += kColumnPanel) {
    Vector b[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) b[c] = load(right + c * apart);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vector a = load(left + r * apart);
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) sum[r][c] = multiply_add(a, b[c], sum[r][c]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) store(out + r * row + c * kColumnPanel, sum[r][c]);
  }
}

static void factor_tile(int64_t positions, int64_t rows, const float* left, int64_t columns,
                        const float* right, int64_t lanes, bool add, float* out) {
  const int64_t apart = positions * kColumnPanel;
  for (int64_t lane = 0; lane < lanes; lane += kLanesTogether) {
    for (int64_t r = 0; r < rows;) {
      const int64_t here = rows - r >= kBlockRows ? kBlockRows : 1;
      for (int64_t c = 0; c < columns;) {
        const int64_t wide = columns - c >= kBlockColumns ? kBlockColumns : 1;
        const auto run = here == 1 ? (wide == 1 ? factor_block<1, 1> : factor_block<1, kBlockColumns>)
                         : wide == 1 ? factor_block<kBlockRows, 1>
                                     : factor_block<kBlockRows, kBlockColumns>;
        run(positions, left + r * apart + lane, right + c * apart + lane, columns, add,
            out + (r * columns + c) * kColumnPanel + lane);
        if constexpr (kLanesTogether > kWidth) {
          const int64_t next = lane + kWidth;
          run(positions, left + r * apart + next, right + c * apart + next, columns, add,
              out + (r * columns + c) * kColumnPanel + next);
        }
        c += wide;
      }
      r += here;
    }
  }
}

}  // namespace xferpipe::XFERPIPE_ISA
