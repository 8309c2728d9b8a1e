// A 128 x 128 tile of products of two sets of rows, held in the registers of one block.
//
// Only multiply_slab has two forms: tensor cores on the device, loops elsewhere, with the same
// entries in the same accumulators.
#pragma once
#include "operand.cuh"
#if defined(XFERPIPE_TENSOR_CORE)
#include "tensor_core.h"  // the tests' model of the matrix instruction
#endif

namespace xferpipe::cuda {

constexpr int kSlabFloats = kTile * kSlab;
constexpr int kScoresPitch = kTile + 1;
constexpr int kTileFloats = kTile * kScoresPitch;  // the tile reuses the memory of the slabs
static_assert(kTileFloats >= 2 * kSlabFloats, "the slabs must fit");

// Rows are swizzled by four words, so that the fragment loads of a warp touch all banks.
XFERPIPE_HOST_DEVICE inline int slab_index(int row, int k) {
  return row * kSlab + (k ^ (row % 8 * 4));
}

// Where accumulator e of fragment (i, j) lies from the first row and column of a warp's part: the
// layout of the m16n8k8 matrix instruction.
struct Place {
  int row, column;
};
XFERPIPE_HOST_DEVICE inline Place fragment_place(int lane, int i, int j, int e) {
  return {i * 16 + lane / 4 + e / 2 * 8, j * 8 + lane % 4 * 2 + e % 2};
}
// In the tile warps lie as 2 x 4, each 64 x 32.
XFERPIPE_HOST_DEVICE inline Place place(int thread, int i, int j, int e) {
  const int warp = thread / 32;
  const Place p = fragment_place(thread % 32, i, j, e);
  return {warp / 4 * 64 + p.row, warp % 4 * 32 + p.column};
}

template <int kRows, int kColumns>
struct Fragments {
  float value[kRows][kColumns][4];

  XFERPIPE_HOST_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) value[i][j][e] = 0.0f;
      }
    }
  }
};
using Accumulators = Fragments<4, 4>;

// Float32 accuracy from tf32 products: high x high, and low x high for each side that is split. A
// side that was bfloat16 or signs is exact in one part. Tensor cores round their sums toward zero, so
// eight steps of depth start from zero, small products first, and join the running sum by a rounded
// addition: added up inside, a thousand steps would all be short by a little and LFC by 1e-3. The
// order of the products is the same for every shape, so that an entry has the same bits wherever it
// is computed.
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
// `a` and `b` point to the first row of the warp's part, a multiple of 8.
template <bool kSplitA, bool kSplitB, int kRows, int kColumns>
__device__ inline void multiply_slab(int lane, const float* a, const float* b,
                                     Fragments<kRows, kColumns>& sum) {
  const int row = lane / 4, swizzle = row * 4;
  a += row * kSlab + lane % 4;
  b += row * kSlab + lane % 4;
#pragma unroll 1  // several steps at a time need more registers than there are
  for (int k = 0; k < kSlab; k += 8) {
    uint32_t b_high[kColumns][2], b_low[kColumns][2];
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float x = b[j * 8 * kSlab + ((k + 4 * h) ^ swizzle)];
        b_high[j][h] = to_tf32(x);
        if (kSplitB) b_low[j][h] = to_tf32(x - __uint_as_float(b_high[j][h]));
      }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      uint32_t a_high[4], a_low[4];
#pragma unroll
      for (int h = 0; h < 4; ++h) {
        const float x = a[(i * 16 + h % 2 * 8) * kSlab + ((k + h / 2 * 4) ^ swizzle)];
        a_high[h] = to_tf32(x);
        if (kSplitA) a_low[h] = to_tf32(x - __uint_as_float(a_high[h]));
      }
      float part[kColumns][4] = {};
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        if (kSplitA) matrix_step(part[j], a_low, b_high[j]);
      }
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        if (kSplitB) matrix_step(part[j], a_high, b_low[j]);
      }
#pragma unroll
      for (int j = 0; j < kColumns; ++j) matrix_step(part[j], a_high, b_high[j]);
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) sum.value[i][j][e] += part[j][e];
      }
    }
  }
}
#else
#if !defined(XFERPIPE_TENSOR_CORE)
template <bool kSplitA, bool kSplitB>
inline float eight_products(const float (&a)[8], const float (&b)[8]) {
  float sum = 0.0f;
  for (int s = 0; s < 8; ++s) sum += a[s] * b[s];
  return sum;
}
#endif
template <bool kSplitA, bool kSplitB, int kRows, int kColumns>
inline void multiply_slab(int lane, const float* a, const float* b,
                          Fragments<kRows, kColumns>& sum) {
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      for (int e = 0; e < 4; ++e) {
        const Place p = fragment_place(lane, i, j, e);
        for (int k = 0; k < kSlab; k += 8) {
          float left[8], right[8];
          for (int s = 0; s < 8; ++s) {
            left[s] = a[slab_index(p.row, k + s)];
            right[s] = b[slab_index(p.column, k + s)];
          }
          sum.value[i][j][e] += eight_products<kSplitA, kSplitB>(left, right);
        }
      }
    }
  }
}
#endif

struct alignas(16) Quad {
  float value[4];
};

// Writes a thread's values of a slab to shared memory.
template <bool kAlongDepth>
XFERPIPE_HOST_DEVICE inline void store_slab(int thread, const float (&value)[kPerThread],
                                            float* slab) {
  const SlabPlace p = slab_place(thread, 0, kAlongDepth);
  if (kAlongDepth) {
    float* at = slab + slab_index(p.row, p.k);  // eight rows on, the swizzle is the same
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) at[i * 8 * kSlab] = value[i];
  } else {
#pragma unroll
    for (int i = 0; i < kPerThread; i += 4) {
      *reinterpret_cast<Quad*>(slab + slab_index(p.row, p.k + i)) =
          Quad{{value[i], value[i + 1], value[i + 2], value[i + 3]}};
    }
  }
}

// sum += products over depth steps [first, end) of rows a_row.. of `a` and b_row.. of `b`. What comes
// from memory is loaded while the slab before is multiplied; what is made on the fly need not be.
template <bool kSplitA, bool kSplitB, class Context, class A, class B>
XFERPIPE_HOST_DEVICE inline void multiply_tile(Context& context, const A& a, int64_t a_row,
                                               const B& b, int64_t b_row, int64_t first,
                                               int64_t end, float* shared, Accumulators& sum) {
  const int thread = context.thread(), warp = thread / 32;
  float* a_slab = shared;
  float* b_slab = shared + kSlabFloats;
  float next_a[kPerThread], next_b[kPerThread];
  a.load(thread, a_row, first, end, next_a);
  if (!B::kMade) b.load(thread, b_row, first, end, next_b);
  for (int64_t k = first; k < end; k += kSlab) {
    context.sync();  // the slab before has been read
    store_slab<A::kAlongDepth>(thread, next_a, a_slab);
    if (B::kMade) b.load(thread, b_row, k, end, next_b);
    store_slab<B::kAlongDepth>(thread, next_b, b_slab);
    context.sync();
    if (k + kSlab < end) {
      a.load(thread, a_row, k + kSlab, end, next_a);
      if (!B::kMade) b.load(thread, b_row, k + kSlab, end, next_b);
    }
    multiply_slab<kSplitA, kSplitB>(thread % 32, a_slab + warp / 4 * 64 * kSlab,
                                    b_slab + warp % 4 * 32 * kSlab, sum);
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

}  // namespace xferpipe::cuda
