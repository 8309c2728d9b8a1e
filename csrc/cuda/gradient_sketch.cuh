// Bodies of the sparse and the Hadamard projection. Every sum has one owner and takes its terms in
// the order of the coordinates, as the CPU does: the bits are the same.
#pragma once
#include "operand.cuh"

namespace xferpipe::cuda {

// Bucket and sign of coordinates first .. first + count - 1 (see core/random.h), and for each its
// turn: how many coordinates before it in its group of 32 go to the same bucket.
template <class Context>
XFERPIPE_HOST_DEVICE inline void hash_body(Context& context, uint64_t seed, int64_t first,
                                           int64_t count, uint32_t buckets, uint32_t* table,
                                           uint8_t* turns, uint32_t* shared) {
  const int thread = context.thread();
  const int64_t j = context.block_x() * kThreads + thread;
  const uint64_t coordinate = static_cast<uint64_t>(first + j);
  const Words words = philox(seed, Stream::kSparse, coordinate / 2);
  const uint32_t entry = coordinate % 2 ? bucket_and_sign(words, 1, buckets)
                                        : bucket_and_sign(words, 0, buckets);
  shared[thread] = entry & 0x7fffffffu;
  context.sync();
  if (j >= count) return;
  uint8_t turn = 0;
  for (int before = thread / 32 * 32; before < thread; ++before) {
    turn += shared[before] == shared[thread];
  }
  table[j] = entry;
  turns[j] = turn;
}

// out (n x k) += the signed coordinates of each sample in their buckets. A warp owns a sample and
// keeps `range` of its buckets in shared memory; block (x, y): samples x * warps and following,
// buckets y * range and following. Coordinates of a group that share a bucket take turns.
template <class Context>
XFERPIPE_HOST_DEVICE inline void sparse_body(Context& context, const RowsOf& gradients, int64_t p,
                                             int64_t k, const uint32_t* table,
                                             const uint8_t* turns, int warps, int range, float* out,
                                             float* shared) {
  constexpr int kGroups = 8;  // groups of 32 coordinates in flight
  const int warp = context.thread() / 32, lane = context.thread() % 32;
  const int64_t sample = context.block_x() * warps + warp, base = context.block_y() * range;
  if (warp >= warps || sample >= gradients.rows) return;
  const int64_t here = k - base < range ? k - base : range;
  float* sums = shared + warp * range;
  float* own = out + sample * k + base;
  for (int64_t b = lane; b < here; b += 32) sums[b] = own[b];
  context.warp_sync();
  for (int64_t first = 0; first < p; first += 32 * kGroups) {
    float value[kGroups];
    uint32_t entry[kGroups];
    int turn[kGroups];
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const int64_t j = first + 32 * g + lane;
      value[g] = j < p ? gradients.at(sample, j) : 0.0f;
      entry[g] = j < p ? table[j] : 0u;
      turn[g] = j < p ? turns[j] : -1;
    }
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const int64_t bucket = static_cast<int64_t>(entry[g] & 0x7fffffffu) - base;
      if (bucket < 0 || bucket >= here) turn[g] = -1;
      for (int now = 0; context.ballot(turn[g] >= now); ++now) {
        if (turn[g] == now) sums[bucket] += entry[g] >> 31 ? -value[g] : value[g];
        context.warp_sync();
      }
    }
  }
  for (int64_t b = lane; b < here; b += 32) own[b] = sums[b];
}

// Signs of coordinates 128 * block and following, four words to a block; a set bit is -1.
template <class Context>
XFERPIPE_HOST_DEVICE inline void sign_words_body(Context& context, uint64_t seed, int64_t block,
                                                 int64_t blocks, uint32_t* out) {
  const int64_t b = context.block_x() * kThreads + context.thread();
  if (b >= blocks) return;
  const Words words = philox(seed, Stream::kHadamardSigns, static_cast<uint64_t>(block + b));
#pragma unroll
  for (int w = 0; w < 4; ++w) out[4 * b + w] = words.w[w];
}

// folded (n x size) += signed coordinates first .. first + p - 1, wrapped around `size`. Block
// (x, y): positions of tile x, sample y; `signs` start at coordinate first - first % 128.
template <class Context>
XFERPIPE_HOST_DEVICE inline void fold_body(Context& context, const RowsOf& gradients, int64_t p,
                                           int64_t size, int64_t first, const uint32_t* signs,
                                           float* folded) {
  const int64_t position = context.block_x() * kThreads + context.thread();
  const int64_t sample = context.block_y(), skip = first % 128;
  if (position >= size) return;
  float sum = folded[sample * size + position];
#pragma unroll 8
  for (int64_t j = (position - first % size + size) % size; j < p; j += size) {
    const int64_t bit = skip + j;
    const float value = gradients.at(sample, j);
    sum += signs[bit / 32] >> (bit % 32) & 1 ? -value : value;
  }
  folded[sample * size + position] = sum;
}

// Walsh-Hadamard transform of runs of `width` values (a power of two), in shared memory.
template <class Context>
XFERPIPE_HOST_DEVICE inline void hadamard_body(Context& context, float* values, int width,
                                               float* shared) {
  float* own = values + context.block_x() * width;
  const int thread = context.thread();
  for (int j = thread; j < width; j += kThreads) shared[j] = own[j];
  for (int half = 1; half < width; half *= 2) {
    context.sync();
    for (int j = thread; j < width / 2; j += kThreads) {
      const int a = j / half * 2 * half + j % half;
      const float x = shared[a], y = shared[a + half];
      shared[a] = x + y;
      shared[a + half] = x - y;
    }
  }
  context.sync();
  for (int j = thread; j < width; j += kThreads) own[j] = shared[j];
}

// One step of the transform over all `count` values, for steps that shared memory does not hold.
template <class Context>
XFERPIPE_HOST_DEVICE inline void butterfly_body(Context& context, float* values, int64_t count,
                                                int64_t half) {
  const int64_t j = context.block_x() * kThreads + context.thread();
  if (j >= count / 2) return;
  const int64_t a = j / half * 2 * half + j % half;
  const float x = values[a], y = values[a + half];
  values[a] = x + y;
  values[a + half] = x - y;
}

}  // namespace xferpipe::cuda
