// Body of the sparse projection. Gathering instead of scattering: a thread owns a bucket of a sample
// and adds its coordinates in order, so the result does not depend on the scheduling of blocks.
#pragma once
#include "../core/random.h"
#include "tile.cuh"

namespace xferpipe::cuda {

// Bucket and sign of coordinates first .. first + count - 1; see core/random.h.
template <class Context>
XFERPIPE_HOST_DEVICE inline void hash_body(Context& context, uint64_t seed, int64_t first,
                                           int64_t count, uint32_t buckets, uint32_t* table) {
  const int64_t j = context.block_x() * kThreads + context.thread();
  if (j >= count) return;
  const Words words = philox(seed, Stream::kSparse, static_cast<uint64_t>((first + j) / 2));
  table[j] = bucket_and_sign(words, static_cast<int>((first + j) % 2), buckets);
}

// out (n x k) += the coordinates listed for each bucket: those of bucket b are
// order[starts[b]] .. order[starts[b + 1] - 1], ascending.
template <class Context>
XFERPIPE_HOST_DEVICE inline void gather_body(Context& context, const Operand& gradients, int64_t k,
                                             const uint32_t* table, const int64_t* starts,
                                             const int64_t* order, float* out) {
  const int64_t bucket = context.block_x() * kThreads + context.thread();
  const int64_t sample = context.block_y();
  if (bucket >= k) return;
  float sum = out[sample * k + bucket];
  for (int64_t t = starts[bucket]; t < starts[bucket + 1]; ++t) {
    const int64_t j = order[t];
    const float value = gradients.at(sample, j);
    sum += table[j] >> 31 ? -value : value;
  }
  out[sample * k + bucket] = sum;
}

}  // namespace xferpipe::cuda
