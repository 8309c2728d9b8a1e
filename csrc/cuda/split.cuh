// Operands of library products: each number as a sum of 16-bit parts, which tensor cores multiply
// exactly.
#pragma once
#include <cmath>

#include "launch.h"
#include "rows.cuh"

namespace xferpipe::cuda {

// To bfloat16, halves to even.
XFERPIPE_HOST_DEVICE inline uint16_t to_bfloat16(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;  // NaN stays NaN
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

// To float16, halves to even.
#if defined(__CUDA_ARCH__)
__device__ inline uint16_t to_float16(float value) {
  uint16_t half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
}
#else
inline uint16_t to_float16(float value) {
  const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (rest >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65,520 and more
  // Adding this power of two leaves what float16 keeps in the last places, rounded by the machine.
  const uint32_t exponent = rest >> 23, least = exponent < 113 ? 113 : exponent;
  const float anchor = float_of((least + 13) << 23);
  const uint32_t kept = bits_of(float_of(rest) + anchor) - bits_of(anchor);
  return static_cast<uint16_t>(sign | (kept + ((least - 113) << 10)));
}
#endif

XFERPIPE_HOST_DEVICE inline void write_tail(Tail tail, double norm, uint16_t* out) {
  float rest = tail == Tail::kHalfNorm ? static_cast<float>(-0.5 * norm) : 1.0f;
#pragma unroll
  for (int i = 0; i < kTailColumns; ++i) {
    const uint16_t part = i < 3 ? to_bfloat16(rest) : 0;
    if (tail == Tail::kHalfNorm) rest -= from_bfloat16(part);
    out[i] = part;
  }
}

constexpr int kOctet = 8;           // columns of a thread at a time: 16 bytes of the result
constexpr int64_t kSplitOctets = 1024;  // of a block, about

// Threads side by side for a row, and rows at a time: wide rows take all threads.
struct SplitShape {
  int64_t octets;  // of a row
  int lanes, rows_at_once, rounds;
};
XFERPIPE_HOST_DEVICE inline SplitShape split_shape(int64_t columns) {
  const int64_t octets = (columns + kOctet - 1) / kOctet;
  const int lanes = octets < kThreads ? static_cast<int>(octets) : kThreads;
  const int at_once = kThreads / lanes;
  const int64_t rounds = kSplitOctets / (at_once * octets);
  return {octets, lanes, at_once, rounds < 1 ? 1 : static_cast<int>(rounds)};
}

// Eight numbers of a row, zeros beyond it. `aligned`: rows start at multiples of 16 bytes.
XFERPIPE_HOST_DEVICE inline void load_octet(const Rows& rows, int64_t row, int64_t column,
                                            bool aligned, float (&value)[kOctet]) {
  const int64_t where = row * rows.stride + column;
  if (aligned && column + kOctet <= rows.columns) {
    if (rows.bfloat16) {
      const Sixteen half =
          *reinterpret_cast<const Sixteen*>(static_cast<const uint16_t*>(rows.data) + where);
#pragma unroll
      for (int i = 0; i < kOctet; ++i) {
        value[i] = from_bfloat16(static_cast<uint16_t>(half.word[i / 2] >> (i % 2 * 16)));
      }
    } else {
      const auto* from =
          reinterpret_cast<const Sixteen*>(static_cast<const float*>(rows.data) + where);
      const Sixteen low = from[0], high = from[1];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        value[i] = float_of(low.word[i]);
        value[i + 4] = float_of(high.word[i]);
      }
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kOctet; ++i) {
    value[i] = column + i < rows.columns ? rows.at(row, column + i) : 0.0f;
  }
}

// `whole`: all eight lie within the result, at a multiple of 16 bytes.
XFERPIPE_HOST_DEVICE inline void store_octet(const Sixteen& octet, uint16_t* out, bool whole,
                                             int64_t room) {
  if (whole) {
    *reinterpret_cast<Sixteen*>(out) = octet;
    return;
  }
#pragma unroll
  for (int i = 0; i < kOctet; ++i) {
    if (i < room) out[i] = static_cast<uint16_t>(octet.word[i / 2] >> (i % 2 * 16));
  }
}

// Block x: a few consecutive rows.
template <class Context>
XFERPIPE_HOST_DEVICE inline void split_body(Context& context, const Rows& rows,
                                            const RowChanges& changes, const SplitTarget& target,
                                            bool aligned_in, bool aligned_out) {
  const SplitShape shape = split_shape(target.columns);
  const int own = context.thread() / shape.lanes, lane = context.thread() % shape.lanes;
  if (own >= shape.rows_at_once) return;
  const int64_t first = context.block_x() * shape.rounds * shape.rows_at_once + own;
  for (int round = 0; round < shape.rounds; ++round) {
    const int64_t row = first + round * shape.rows_at_once;
    if (row >= target.rows) return;
    const bool held = row < rows.rows;
    const double norm = changes.norms && held ? changes.norms[row] : 0.0;
    float by = changes.scale && held ? changes.scale[row * changes.scale_step] : 1.0f;
    if (target.tail == Tail::kUnit) by = norm > 0.0 ? static_cast<float>(1.0 / sqrt(norm)) : 0.0f;
    uint16_t* out = target.out + row * target.row_stride;
    if (lane == 0 && (target.tail == Tail::kOnes || target.tail == Tail::kHalfNorm)) {
      write_tail(target.tail, norm, out + target.planes * target.columns);
    }
    for (int64_t octet = lane; octet < shape.octets; octet += shape.lanes) {
      const int64_t c = octet * kOctet, room = target.columns - c;
      float value[kOctet] = {};
      if (held) load_octet(rows, row, c, aligned_in, value);
      Sixteen high = {}, low = {};
#pragma unroll
      for (int i = 0; i < kOctet; ++i) {
        const bool in = held && c + i < rows.columns;
        const float moved = in ? shifted(value[i], changes.shift, c + i) * by : 0.0f;
        const uint32_t own = target.float16 ? to_float16(moved) : to_bfloat16(moved);
        high.word[i / 2] |= own << (i % 2 * 16);
        if (target.lows) {
          const uint32_t rest = to_bfloat16(moved - from_bfloat16(static_cast<uint16_t>(own)));
          low.word[i / 2] |= rest << (i % 2 * 16);
        }
      }
      for (int plane = 0; plane < target.planes; ++plane) {
        const bool is_low = target.lows >> plane & 1;
        Sixteen chosen;
#pragma unroll
        for (int i = 0; i < 4; ++i) chosen.word[i] = is_low ? low.word[i] : high.word[i];
        store_octet(chosen, out + plane * target.plane_stride + c, aligned_out && room >= kOctet,
                    room);
      }
    }
  }
}

// scale (count): powers of two that bring numbers up to `largest` (count) into float16, and are float32
// numbers themselves. A thread to each.
template <class Context>
XFERPIPE_HOST_DEVICE inline void scale_body(Context& context, const float* largest, int64_t count,
                                            float* scale) {
  const int64_t i = context.block_x() * kThreads + context.thread();
  if (i >= count) return;
  // Numbers below 2^(e + 1) of the exponent e come below 2^15.
  const int exponent = static_cast<int>(bits_of(largest[i]) >> 23 & 0xff) - 127;
  const int power = 14 - exponent > 126 ? 126 : 14 - exponent;
  scale[i] = largest[i] > 0.0f ? float_of(static_cast<uint32_t>(power + 127) << 23) : 1.0f;
}

}  // namespace xferpipe::cuda
