// Bodies of the sparse and the Hadamard projection. Every sum has one owner and takes its terms in
// the order of the coordinates, as the CPU does: the bits are the same.
#pragma once
#include "../core/random.h"
#include "split.cuh"

namespace xferpipe::cuda {

constexpr int kGroup = 4 * kThreads;  // coordinates of a block at a time, four to a thread

// Bucket and sign of coordinates first .. first + count - 1 (see core/random.h), and for each its
// turn: how many coordinates before it in its group go to the same bucket. Block x: group x.
template <class Context>
XFERPIPE_HOST_DEVICE inline void hash_body(Context& context, uint64_t seed, int64_t first,
                                           int64_t count, uint32_t buckets, uint32_t* table,
                                           uint16_t* turns, uint32_t* shared) {
  const int64_t begin = context.block_x() * kGroup;
  for (int i = context.thread(); i < kGroup; i += kThreads) {
    const uint64_t coordinate = static_cast<uint64_t>(first + begin + i);
    const Words words = philox(seed, Stream::kSparse, coordinate / 2);
    const uint32_t entry = coordinate % 2 ? bucket_and_sign(words, 1, buckets)
                                          : bucket_and_sign(words, 0, buckets);
    shared[i] = entry & 0x7fffffffu;
    if (begin + i < count) table[begin + i] = entry;
  }
  context.sync();
  for (int i = context.thread(); i < kGroup && begin + i < count; i += kThreads) {
    int turn = 0;
    for (int before = 0; before < i; ++before) turn += shared[before] == shared[i];
    turns[begin + i] = static_cast<uint16_t>(turn);
  }
}

// What a thread takes of a group: four coordinates with their buckets, signs and turns.
struct alignas(8) FourTurns {
  uint16_t value[4];
};
struct FourCoordinates {
  Sixteen value, entry;
  FourTurns turn;
};
constexpr int kNever = 0xffff;  // the turn of a coordinate that is not there

// `aligned`: the rows start at multiples of 16 bytes, as the tables do.
XFERPIPE_HOST_DEVICE inline void load_coordinates(const Rows& gradients, const uint32_t* table,
                                                  const uint16_t* turns, int64_t sample, int64_t j,
                                                  bool aligned, FourCoordinates* into) {
  if (aligned && j + 4 <= gradients.columns) {
    into->value = *reinterpret_cast<const Sixteen*>(static_cast<const float*>(gradients.data) +
                                                    sample * gradients.stride + j);
    into->entry = *reinterpret_cast<const Sixteen*>(table + j);
    into->turn = *reinterpret_cast<const FourTurns*>(turns + j);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const bool in = j + i < gradients.columns;
    into->value.word[i] = bits_of(in ? gradients.at(sample, j + i) : 0.0f);
    into->entry.word[i] = in ? table[j + i] : 0u;
    into->turn.value[i] = in ? turns[j + i] : static_cast<uint16_t>(kNever);
  }
}

// out (n x k) += the signed coordinates of each sample in their buckets. A block owns a sample and
// keeps `range` of its buckets in shared memory; block (x, y): sample x, buckets y * range and
// following. Coordinates of a group that share a bucket take turns, so that every bucket adds in the
// order of the coordinates. The next group is on its way while one is added.
template <class Context>
XFERPIPE_HOST_DEVICE inline void sparse_body(Context& context, const Rows& gradients, int64_t k,
                                             const uint32_t* table, const uint16_t* turns,
                                             int range, bool aligned, float* out, float* shared) {
  const int thread = context.thread();
  const int64_t sample = context.block_x(), base = context.block_y() * range;
  const int here = static_cast<int>(k - base < range ? k - base : range);
  float* own = out + sample * k + base;
  for (int b = thread; b < here; b += kThreads) shared[b] = own[b];
  FourCoordinates next;
  load_coordinates(gradients, table, turns, sample, 4 * thread, aligned, &next);
  context.sync();
  for (int64_t first = 0; first < gradients.columns; first += kGroup) {
    const FourCoordinates at = next;
    load_coordinates(gradients, table, turns, sample, first + kGroup + 4 * thread, aligned, &next);
    int bucket[4], turn[4], last = -1;
    float value[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t entry = at.entry.word[i];
      bucket[i] = static_cast<int>((entry & 0x7fffffffu) - static_cast<uint32_t>(base));
      const bool held = bucket[i] >= 0 && bucket[i] < here && at.turn.value[i] != kNever;
      turn[i] = held ? at.turn.value[i] : -1;
      last = turn[i] > last ? turn[i] : last;
      value[i] = float_of(at.value.word[i] ^ (entry & 0x80000000u));
    }
    for (int now = 0; context.any(last >= now); ++now) {
      float sum[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[i] = turn[i] == now ? shared[bucket[i]] : 0.0f;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (turn[i] == now) shared[bucket[i]] = sum[i] + value[i];
      }
    }
  }
  context.sync();
  for (int b = thread; b < here; b += kThreads) own[b] = shared[b];
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

// folded (n x size) += signed coordinates from `first` on, wrapped around `size`. Block
// (x, y): positions of tile x, sample y; `signs` start at coordinate first - first % 128.
template <class Context>
XFERPIPE_HOST_DEVICE inline void fold_body(Context& context, const Rows& gradients,
                                           int64_t size, int64_t first, const uint32_t* signs,
                                           float* folded) {
  const int64_t position = context.block_x() * kThreads + context.thread();
  const int64_t sample = context.block_y(), skip = first % 128;
  if (position >= size) return;
  float sum = folded[sample * size + position];
#pragma unroll 8
  for (int64_t j = (position - first % size + size) % size; j < gradients.columns; j += size) {
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
