// Bodies of the sparse and the Hadamard projection. Every sum has one owner and takes its terms in
// the order of the coordinates, as the CPU does: the bits are the same.
#pragma once
#include "../core/random.h"
#include "rows.cuh"

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

constexpr int kSamples = 4;  // of a block, at most: they share buckets and turns

// What a thread takes of a group: four coordinates of each sample, with their buckets, signs and turns.
struct alignas(8) FourTurns {
  uint16_t value[4];
};
struct FourCoordinates {
  Sixteen value[kSamples], entry;
  FourTurns turn;
};
constexpr int kNever = 0xffff;  // the turn of a coordinate that is not there

// Where a block's samples lie.
struct SampleRows {
  Rows gradients;
  int64_t first;
  int samples;
  bool aligned;  // float32 rows that start at multiples of 16 bytes, as the tables do
};

XFERPIPE_HOST_DEVICE inline void load_coordinates(const SampleRows& rows, const uint32_t* table,
                                                  const uint16_t* turns, int64_t j,
                                                  FourCoordinates* into) {
  const Rows& gradients = rows.gradients;
  const bool whole = rows.aligned && j + 4 <= gradients.columns;
  if (whole) {
    into->entry = *reinterpret_cast<const Sixteen*>(table + j);
    into->turn = *reinterpret_cast<const FourTurns*>(turns + j);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool in = j + i < gradients.columns;
      into->entry.word[i] = in ? table[j + i] : 0u;
      into->turn.value[i] = in ? turns[j + i] : static_cast<uint16_t>(kNever);
    }
  }
#pragma unroll
  for (int s = 0; s < kSamples; ++s) {
    if (s >= rows.samples) break;
    const int64_t sample = rows.first + s;
    if (whole) {
      into->value[s] = *reinterpret_cast<const Sixteen*>(
          static_cast<const float*>(gradients.data) + sample * gradients.stride + j);
      continue;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool in = j + i < gradients.columns;
      into->value[s].word[i] = bits_of(in ? gradients.at(sample, j + i) : 0.0f);
    }
  }
}

// out (n x k) += the signed coordinates of each sample in their buckets. A block owns a few samples and
// keeps `range` buckets of each in shared memory; block (x, y): samples x * samples and following,
// buckets y * range and following. Coordinates of a group that share a bucket take turns, so that every
// bucket adds in the order of the coordinates. The next group is on its way while one is added.
template <class Context>
XFERPIPE_HOST_DEVICE inline void sparse_body(Context& context, const Rows& gradients, int64_t k,
                                             const uint32_t* table, const uint16_t* turns,
                                             int samples, int range, bool aligned, float* out,
                                             float* shared) {
  const int thread = context.thread();
  const int64_t first_sample = context.block_x() * samples, base = context.block_y() * range;
  const int64_t left = gradients.rows - first_sample;
  const SampleRows rows = {gradients, first_sample, left < samples ? static_cast<int>(left) : samples,
                           aligned};
  const int here = static_cast<int>(k - base < range ? k - base : range);
  float* own = out + first_sample * k + base;
  for (int s = 0; s < rows.samples; ++s) {
    for (int b = thread; b < here; b += kThreads) shared[s * range + b] = own[s * k + b];
  }
  FourCoordinates next;
  load_coordinates(rows, table, turns, 4 * thread, &next);
  context.sync();
  for (int64_t first = 0; first < gradients.columns; first += kGroup) {
    const FourCoordinates at = next;
    load_coordinates(rows, table, turns, first + kGroup + 4 * thread, &next);
    int bucket[4], turn[4], last = -1;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      bucket[i] = static_cast<int>((at.entry.word[i] & 0x7fffffffu) - static_cast<uint32_t>(base));
      const bool held = bucket[i] >= 0 && bucket[i] < here && at.turn.value[i] != kNever;
      turn[i] = held ? at.turn.value[i] : -1;
      last = turn[i] > last ? turn[i] : last;
    }
    for (int now = 0; context.any(last >= now); ++now) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (turn[i] != now) continue;
        const uint32_t sign = at.entry.word[i] & 0x80000000u;
        float* into = shared + bucket[i];
#pragma unroll
        for (int s = 0; s < kSamples; ++s) {
          if (s < rows.samples) into[s * range] += float_of(at.value[s].word[i] ^ sign);
        }
      }
    }
  }
  context.sync();
  for (int s = 0; s < rows.samples; ++s) {
    for (int b = thread; b < here; b += kThreads) own[s * k + b] = shared[s * range + b];
  }
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
