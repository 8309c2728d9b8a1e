// A 128 x 128 tile of products of two sets of rows, held in the registers of one block.
//
// Kernel bodies are templates over a Context (thread number, block number, barrier), so that the
// tests run them on a CPU with a thread per CUDA thread. Only multiply_slab has two forms: tensor
// cores on the device, loops elsewhere, with the same entries in the same accumulators.
#pragma once
#include <cstdint>
#include <cstring>

#include "../core/ranking.h"

namespace xferpipe::cuda {

constexpr int kThreads = 256;
constexpr int kTile = 128;
constexpr int kSlab = 32;  // steps of depth in shared memory at a time
constexpr int kPitch = kSlab + 4;  // 4 words of padding: fragment loads then touch all banks
constexpr int kSharedFloats = 2 * kTile * kPitch;
constexpr int kScoresPitch = kTile + 1;
static_assert(kTile * kScoresPitch >= kSharedFloats, "the tile of scores reuses the slabs' memory");
constexpr int kSharedBytes = kTile * kScoresPitch * 4;

// Element (row, k) of an operand lies at data + row * row_stride + k * depth_stride.
struct Operand {
  const void* data;
  int64_t row_stride, depth_stride;
  int64_t rows;            // rows past the last read as zero
  const int64_t* chosen;   // row numbers, or null for 0, 1, 2, ...
  bool bfloat16;

  XFERPIPE_HOST_DEVICE float at(int64_t row, int64_t k) const {
    if (row >= rows) return 0.0f;
    const int64_t from = chosen ? chosen[row] : row;
    const int64_t where = from * row_stride + k * depth_stride;
    if (!bfloat16) return static_cast<const float*>(data)[where];
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(data)[where]) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
};

// Where accumulator e of fragment (i, j) of a thread lies in the tile: the layout of the
// m16n8k8 matrix instruction, warps as 2 x 4, each 64 x 32.
struct Place {
  int row, column;
};
XFERPIPE_HOST_DEVICE inline Place place(int thread, int i, int j, int e) {
  const int warp = thread / 32, lane = thread % 32;
  return {(warp / 4) * 64 + i * 16 + lane / 4 + (e / 2) * 8,
          (warp % 4) * 32 + j * 8 + (lane % 4) * 2 + e % 2};
}

struct Accumulators {
  float value[4][4][4];
};

#if defined(__CUDA_ARCH__)
__device__ inline uint32_t to_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}
__device__ inline void matrix_step(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// float32 accuracy from three tf32 products: high x high + high x low + low x high. One is enough
// (and exact) where both operands were bfloat16.
template <bool kSplit>
__device__ inline void multiply_slab(int thread, const float* a, const float* b,
                                     Accumulators& sum) {
  const int warp = thread / 32, lane = thread % 32;
  const float* own_a = a + ((warp / 4) * 64 + lane / 4) * kPitch + lane % 4;
  const float* own_b = b + ((warp % 4) * 32 + lane / 4) * kPitch + lane % 4;
#pragma unroll
  for (int k = 0; k < kSlab; k += 8) {
    uint32_t b_high[4][2], b_low[4][2];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float x = own_b[j * 8 * kPitch + k + 4 * h];
        b_high[j][h] = to_tf32(x);
        if (kSplit) b_low[j][h] = to_tf32(x - __uint_as_float(b_high[j][h]));
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      uint32_t a_high[4], a_low[4];
#pragma unroll
      for (int h = 0; h < 4; ++h) {
        const float x = own_a[(i * 16 + (h % 2) * 8) * kPitch + k + (h / 2) * 4];
        a_high[h] = to_tf32(x);
        if (kSplit) a_low[h] = to_tf32(x - __uint_as_float(a_high[h]));
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (kSplit) {
          matrix_step(sum.value[i][j], a_low, b_high[j]);
          matrix_step(sum.value[i][j], a_high, b_low[j]);
        }
        matrix_step(sum.value[i][j], a_high, b_high[j]);
      }
    }
  }
}
#else
template <bool kSplit>
inline void multiply_slab(int thread, const float* a, const float* b, Accumulators& sum) {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int e = 0; e < 4; ++e) {
        const Place p = place(thread, i, j, e);
        for (int k = 0; k < kSlab; ++k) {
          sum.value[i][j][e] += a[p.row * kPitch + k] * b[p.column * kPitch + k];
        }
      }
    }
  }
}
#endif

// This thread's sixteen values of a slab of one operand, so that the next slab is under way while
// this one is multiplied.
struct Ahead {
  float value[16];

  XFERPIPE_HOST_DEVICE static void where(int thread, int i, bool rows_adjacent, int* row, int* k) {
    if (rows_adjacent) {
      *row = thread % kTile;
      *k = thread / kTile + 2 * i;
    } else {
      *row = thread / kSlab + 8 * i;
      *k = thread % kSlab;
    }
  }
  XFERPIPE_HOST_DEVICE void load(int thread, const Operand& from, int64_t first_row, int64_t first_k,
                                 int64_t depth) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      int row, k;
      where(thread, i, from.depth_stride != 1, &row, &k);
      value[i] = first_k + k < depth ? from.at(first_row + row, first_k + k) : 0.0f;
    }
  }
  XFERPIPE_HOST_DEVICE void store(int thread, bool rows_adjacent, float* slab) const {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      int row, k;
      where(thread, i, rows_adjacent, &row, &k);
      slab[row * kPitch + k] = value[i];
    }
  }
};

// sum += products over depth steps [first, end) of rows a_row.. of `a` and b_row.. of `b`.
template <bool kSplit, class Context>
XFERPIPE_HOST_DEVICE inline void multiply_tile(Context& context, const Operand& a, int64_t a_row,
                                               const Operand& b, int64_t b_row, int64_t first,
                                               int64_t end, float* shared, Accumulators& sum) {
  const int thread = context.thread();
  float* a_slab = shared;
  float* b_slab = shared + kTile * kPitch;
  Ahead next_a, next_b;
  next_a.load(thread, a, a_row, first, end);
  next_b.load(thread, b, b_row, first, end);
  for (int64_t k = first; k < end; k += kSlab) {
    context.sync();  // the slab before has been read
    next_a.store(thread, a.depth_stride != 1, a_slab);
    next_b.store(thread, b.depth_stride != 1, b_slab);
    context.sync();
    if (k + kSlab < end) {
      next_a.load(thread, a, a_row, k + kSlab, end);
      next_b.load(thread, b, b_row, k + kSlab, end);
    }
    multiply_slab<kSplit>(thread, a_slab, b_slab, sum);
  }
}

XFERPIPE_HOST_DEVICE inline void clear(Accumulators& sum) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sum.value[i][j][e] = 0.0f;
    }
  }
}

// The tile, row by row with kScoresPitch, where the slabs were.
template <class Context>
XFERPIPE_HOST_DEVICE inline void to_shared(Context& context, const Accumulators& sum,
                                           float* shared) {
  context.sync();  // the slabs have been read
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const Place p = place(context.thread(), i, j, e);
        shared[p.row * kScoresPitch + p.column] = sum.value[i][j][e];
      }
    }
  }
  context.sync();
}

#if defined(__CUDACC__)
struct DeviceContext {
  __device__ int thread() const { return threadIdx.x; }
  __device__ int64_t block_x() const { return blockIdx.x; }
  __device__ int64_t block_y() const { return blockIdx.y; }
  __device__ void sync() const { __syncthreads(); }
  // Integer sums do not depend on the order of the additions.
  __device__ void add(int64_t* into, int64_t value) const {
    atomicAdd(reinterpret_cast<unsigned long long*>(into), static_cast<unsigned long long>(value));
  }
};
#endif

}  // namespace xferpipe::cuda
