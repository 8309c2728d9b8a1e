// Bodies of the sparse and the Hadamard projection. Every sum has one owner and takes its terms in
// the order of the coordinates, as the CPU does: the bits are the same.
#pragma once
#include "../core/random.h"
#include "rows.cuh"

namespace xferpipe::cuda {

constexpr int kGroup = 128;  // coordinates of a warp at a time, four to a lane

// Bucket and sign of coordinates first .. first + count - 1 (see core/random.h), and for each its
// turn: how many coordinates before it in its group go to the same bucket.
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
  for (int before = thread / kGroup * kGroup; before < thread; ++before) {
    turn += shared[before] == shared[thread];
  }
  table[j] = entry;
  turns[j] = turn;
}

// What a lane takes of a group: four coordinates with their buckets, signs and turns.
struct alignas(16) FourWords {
  uint32_t value[4];
};
struct alignas(4) FourBytes {
  uint8_t value[4];
};
struct LaneCoordinates {
  float value[4];
  FourWords entry;
  FourBytes turn;
};
constexpr int kNever = 255;  // the turn of a coordinate that is not there

// `aligned`: the rows start at multiples of 16 bytes, as the table does.
XFERPIPE_HOST_DEVICE inline void load_coordinates(const Rows& gradients, const uint32_t* table,
                                                  const uint8_t* turns, int64_t sample, int64_t j,
                                                  bool aligned, LaneCoordinates* into) {
  if (aligned && j + 4 <= gradients.columns) {
    const FourWords four = *reinterpret_cast<const FourWords*>(
        static_cast<const float*>(gradients.data) + sample * gradients.stride + j);
    memcpy(into->value, four.value, sizeof into->value);
    into->entry = *reinterpret_cast<const FourWords*>(table + j);
    into->turn = *reinterpret_cast<const FourBytes*>(turns + j);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const bool in = j + i < gradients.columns;
    into->value[i] = in ? gradients.at(sample, j + i) : 0.0f;
    into->entry.value[i] = in ? table[j + i] : 0u;
    into->turn.value[i] = in ? turns[j + i] : static_cast<uint8_t>(kNever);
  }
}

// out (n x k) += the signed coordinates of each sample in their buckets. A warp owns a sample and
// keeps `range` of its buckets in shared memory; block (x, y): samples x * warps and following,
// buckets y * range and following. Coordinates of a group that share a bucket take turns. The next
// groups are on their way while some are added.
template <class Context>
XFERPIPE_HOST_DEVICE inline void sparse_body(Context& context, const Rows& gradients, int64_t k,
                                             const uint32_t* table, const uint8_t* turns, int warps,
                                             int range, bool aligned, float* out, float* shared) {
  constexpr int kAhead = 4;  // groups
  const int warp = context.thread() / 32, lane = context.thread() % 32;
  const int64_t sample = context.block_x() * warps + warp, base = context.block_y() * range;
  if (warp >= warps || sample >= gradients.rows) return;
  const int64_t here = k - base < range ? k - base : range;
  float* sums = shared + warp * range;
  float* own = out + sample * k + base;
  for (int64_t b = lane; b < here; b += 32) sums[b] = own[b];
  context.warp_sync();
  LaneCoordinates next[kAhead];
#pragma unroll
  for (int g = 0; g < kAhead; ++g) {
    load_coordinates(gradients, table, turns, sample, g * kGroup + 4 * lane, aligned, next + g);
  }
  for (int64_t first = 0; first < gradients.columns; first += kAhead * kGroup) {
    LaneCoordinates at[kAhead];
#pragma unroll
    for (int g = 0; g < kAhead; ++g) {
      at[g] = next[g];
      load_coordinates(gradients, table, turns, sample,
                       first + (kAhead + g) * kGroup + 4 * lane, aligned, next + g);
    }
#pragma unroll
    for (int g = 0; g < kAhead; ++g) {
      int64_t bucket[4];
      int turn[4], last = -1;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        bucket[i] = static_cast<int64_t>(at[g].entry.value[i] & 0x7fffffffu) - base;
        const bool held = bucket[i] >= 0 && bucket[i] < here && at[g].turn.value[i] != kNever;
        turn[i] = held ? at[g].turn.value[i] : -1;
        last = turn[i] > last ? turn[i] : last;
      }
      for (int now = 0; context.ballot(last >= now); ++now) {
        float sum[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[i] = turn[i] == now ? sums[bucket[i]] : 0.0f;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float value = at[g].entry.value[i] >> 31 ? -at[g].value[i] : at[g].value[i];
          if (turn[i] == now) sums[bucket[i]] = sum[i] + value;
        }
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
