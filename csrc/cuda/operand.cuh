// What the tile product reads: rows of numbers in memory, or made on the fly.
#pragma once
#include <cstdint>
#include <cstring>

#include "../core/random.h"
#include "context.cuh"

namespace xferpipe::cuda {

constexpr int kTile = 128;
constexpr int kSlab = 32;         // steps of depth in shared memory at a time
constexpr int kPerThread = 16;    // kTile * kSlab / kThreads

// A block's 256 threads load a slab of 128 rows by 32 steps, sixteen values each. Neighbouring threads
// read neighbouring numbers: along the depth where those are adjacent in memory, along the rows
// elsewhere.
struct SlabPlace {
  int row, k;
};
XFERPIPE_HOST_DEVICE inline SlabPlace slab_place(int thread, int i, bool along_depth) {
  if (along_depth) return {thread / kSlab + 8 * i, thread % kSlab};
  return {thread % kTile, thread / kTile * kPerThread + i};
}

XFERPIPE_HOST_DEVICE inline float element(const void* data, int64_t where, bool bfloat16) {
  if (!bfloat16) return static_cast<const float*>(data)[where];
  const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(data)[where]) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
// Rounded to float32 once more after the subtraction.
XFERPIPE_HOST_DEVICE inline float shifted(float value, const double* shift, double by) {
  return shift ? static_cast<float>(static_cast<double>(value) - by) : value;
}

// Rows of a matrix: element (row, k) lies at data + row * stride + k. Rows past the last and steps
// before the first read as zero.
struct RowsOf {
  static constexpr bool kAlongDepth = true, kMade = false;
  const void* data;
  int64_t stride, rows;
  bool bfloat16;
  const double* shift = nullptr;  // one value per step, subtracted
  int64_t begin = 0;              // the first step

  XFERPIPE_HOST_DEVICE float at(int64_t row, int64_t k) const {
    const float value = element(data, row * stride + k, bfloat16);
    return shifted(value, shift, shift ? shift[k] : 0.0);
  }
  XFERPIPE_HOST_DEVICE void load(int thread, int64_t first_row, int64_t first_k, int64_t end,
                                 float (&value)[kPerThread]) const {
    const SlabPlace p = slab_place(thread, 0, true);
    const int64_t row = first_row + p.row, k = first_k + p.k;
    const bool in = k >= begin && k < end;
    const int left = in ? static_cast<int>(rows - row < 128 ? rows - row : 128) : 0;
    int64_t where = row * stride + k;
    int64_t step = 8 * stride;
#if defined(__CUDA_ARCH__)
    // Else the compiler keeps all multiples of the stride in registers, and spills.
    asm volatile("" : "+l"(step));
#endif
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      value[i] = 8 * i < left ? element(data, where, bfloat16) : 0.0f;
      where += step;
    }
    if (shift && in) {
      const double by = shift[k];
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        if (8 * i < left) value[i] = shifted(value[i], shift, by);
      }
    }
  }
};

// Columns of a matrix as rows: element (row, k) lies at data + row + k * stride. The dtype is a
// parameter, since its branch costs registers that this layout needs.
template <bool kBfloat16>
struct ColumnsOf {
  static constexpr bool kAlongDepth = false, kMade = false;
  const void* data;
  int64_t stride, rows;
  const double* shift = nullptr;  // one value per row, subtracted
  int64_t group = 0, group_stride = 0;  // row r is row r % group of block r / group, where asked for

  XFERPIPE_HOST_DEVICE void load(int thread, int64_t first_row, int64_t first_k, int64_t end,
                                 float (&value)[kPerThread]) const {
    const SlabPlace p = slab_place(thread, 0, false);
    const int64_t row = first_row + p.row, k = first_k + p.k;
    const bool in = row < rows;
    const double by = shift && in ? shift[row] : 0.0;
    int64_t where = (group ? row / group * group_stride + row % group : row) + k * stride;
    int64_t step = stride;
#if defined(__CUDA_ARCH__)
    // Else the compiler keeps all multiples of the stride in registers, and spills.
    asm volatile("" : "+l"(step));
#endif
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      value[i] = in && k + i < end ? element(data, where, kBfloat16) : 0.0f;
      where += step;
    }
    if (shift) {
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        if (in && k + i < end) value[i] = shifted(value[i], shift, by);
      }
    }
  }
};

// Some rows of a matrix.
struct ChosenRows {
  static constexpr bool kAlongDepth = true, kMade = false;
  const void* data;
  int64_t stride;
  const int64_t* chosen;
  int64_t rows;
  bool bfloat16;

  XFERPIPE_HOST_DEVICE void load(int thread, int64_t first_row, int64_t first_k, int64_t end,
                                 float (&value)[kPerThread]) const {
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const SlabPlace p = slab_place(thread, i, true);
      const int64_t row = first_row + p.row, k = first_k + p.k;
      value[i] = row < rows && k < end ? element(data, chosen[row] * stride + k, bfloat16) : 0.0f;
    }
  }
};

// Rows of signs, `columns` to a row; see core/random.h. Slabs start at multiples of kSlab.
struct SignRows {
  static constexpr bool kAlongDepth = false, kMade = true;
  uint64_t seed;
  Stream stream;
  int64_t columns;

  XFERPIPE_HOST_DEVICE void load(int thread, int64_t first_row, int64_t first_k, int64_t,
                                 float (&value)[kPerThread]) const {
    const SlabPlace p = slab_place(thread, 0, false);
    const int64_t k = first_k + p.k;
    const Words words = philox(seed, stream, sign_index(first_row + p.row, columns, k / 128));
    const int at = static_cast<int>(k / 32 % 4);
    uint32_t bits = at == 0 ? words.w[0] : at == 1 ? words.w[1] : at == 2 ? words.w[2] : words.w[3];
    bits >>= k % 32;
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) value[i] = bits >> i & 1 ? -1.0f : 1.0f;
  }
};

// Rows of standard normal values.
struct NormalRows {
  static constexpr bool kAlongDepth = false, kMade = true;
  uint64_t seed;
  int64_t columns;

  XFERPIPE_HOST_DEVICE void load(int thread, int64_t first_row, int64_t first_k, int64_t,
                                 float (&value)[kPerThread]) const {
    const SlabPlace p = slab_place(thread, 0, false);
    const uint64_t index = static_cast<uint64_t>(first_row + p.row) *
                               static_cast<uint64_t>((columns + 3) / 4) +
                           static_cast<uint64_t>((first_k + p.k) / 4);
#pragma unroll
    for (int i = 0; i < kPerThread; i += 4) {
      const Words words = philox(seed, Stream::kDense, index + i / 4);
#pragma unroll
      for (int w = 0; w < 4; ++w) value[i + w] = gaussian(words.w[w]);
    }
  }
};

}  // namespace xferpipe::cuda
