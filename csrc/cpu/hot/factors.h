// Gradients of a convolution from its factors, one sample per lane.
#pragma once
#include "vector.h"

namespace xferpipe::XFERPIPE_ISA {

// Accumulators of a block: as many as stay in registers beside the operands.
constexpr int kBlockRows = kWidth == 16 ? 6 : 2, kBlockColumns = 4;

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
  for (int64_t lane = 0; lane < lanes; lane += kWidth) {
    for (int64_t r = 0; r < rows;) {
      const int64_t here = rows - r >= kBlockRows ? kBlockRows : 1;
      for (int64_t c = 0; c < columns;) {
        const int64_t wide = columns - c >= kBlockColumns ? kBlockColumns : 1;
        const auto run = here == 1 ? (wide == 1 ? factor_block<1, 1> : factor_block<1, kBlockColumns>)
                         : wide == 1 ? factor_block<kBlockRows, 1>
                                     : factor_block<kBlockRows, kBlockColumns>;
        run(positions, left + r * apart + lane, right + c * apart + lane, columns, add,
            out + (r * columns + c) * kColumnPanel + lane);
        c += wide;
      }
      r += here;
    }
  }
}

}  // namespace xferpipe::XFERPIPE_ISA
