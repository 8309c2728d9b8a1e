// The order of a ranking as one unsigned number: smaller keys come first, by falling score and then by
// rising place. And a sort of keys in shared memory.
#pragma once
#include "rows.cuh"

namespace xferpipe::cuda {

using Key = uint64_t;
constexpr Key kLastKey = ~Key{0};

XFERPIPE_HOST_DEVICE inline Key key_of(float score, uint32_t place) {
  const uint32_t bits = bits_of(score + 0.0f);  // -0 becomes 0: they tie
  const uint32_t rising = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<Key>(~rising) << 32 | place;
}
XFERPIPE_HOST_DEVICE inline float score_of(Key key) {
  const uint32_t rising = ~static_cast<uint32_t>(key >> 32);
  return float_of(rising >> 31 ? rising & 0x7fffffffu : ~rising);
}
XFERPIPE_HOST_DEVICE inline uint32_t place_of(Key key) { return static_cast<uint32_t>(key); }

XFERPIPE_HOST_DEVICE inline int power_of_two_above(int count) {
  int size = 1;
  while (size < count) size *= 2;
  return size;
}

// Sorts `size` keys (a power of two), and what goes with them where `with` is not null: a bitonic
// network. All threads call it after a barrier; the last step ends in one.
template <class Context>
XFERPIPE_HOST_DEVICE inline void sort_keys(Context& context, Key* keys, int* with, int size) {
  for (int run = 2; run <= size; run *= 2) {
    for (int apart = run / 2; apart > 0; apart /= 2) {
      for (int i = context.thread(); i < size / 2; i += kThreads) {
        const int a = (i & ~(apart - 1)) * 2 + (i & (apart - 1)), b = a + apart;
        const bool rising = (a & run) == 0;
        if ((keys[a] > keys[b]) == rising) {
          const Key key = keys[a];
          keys[a] = keys[b];
          keys[b] = key;
          if (with) {
            const int carried = with[a];
            with[a] = with[b];
            with[b] = carried;
          }
        }
      }
      context.sync();
    }
  }
}

constexpr int kHeld = 4096;           // keys held at a time
constexpr int kTaken = 8 * kThreads;  // looked at between two looks at how many are held
constexpr int kMostKept = kHeld - kTaken;
constexpr int kHoldBytes = kHeld * 8 + 16;

// Leaves in `keys` the k smallest of the keys that `source` gives for begin .. end - 1, in order, and
// returns how many there are (the same for all threads). Keys that beat the k-th so far are held; when
// many are, they are sorted and the k smallest stay. `worst` becomes the largest key that this thread
// saw. `shared`: kHoldBytes.
template <class Context, class Source>
XFERPIPE_HOST_DEVICE inline int hold_smallest(Context& context, const Source& source, int64_t begin,
                                              int64_t end, int k, float* shared, Key* worst) {
  constexpr int kEach = kTaken / kThreads;
  const int thread = context.thread();
  Key* keys = reinterpret_cast<Key*>(shared);
  int* held = reinterpret_cast<int*>(keys + kHeld);
  const int many = k < kMostKept / 2 ? k + (k < 256 ? 256 : k) : kMostKept;
  Key limit = kLastKey;
  if (thread == 0) *held = 0;
  context.sync();
  int each = 2;  // few at first: they give a limit that most others do not beat
  for (int64_t first = begin; first < end; each = kEach) {
    Key key[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int64_t at = first + i * kThreads + thread;
      key[i] = i < each && at < end ? source(at) : kLastKey;
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (key[i] != kLastKey && key[i] > *worst) *worst = key[i];
      if (key[i] < limit) keys[context.add_shared(held, 1)] = key[i];
    }
    first += each * kThreads;
    context.sync();
    const int count = *held;
    context.sync();
    if (count <= many && first < end) continue;
    const int size = power_of_two_above(count);
    for (int i = count + thread; i < size; i += kThreads) keys[i] = kLastKey;
    context.sync();
    sort_keys(context, keys, nullptr, size);
    if (count >= k) limit = keys[k - 1];
    if (thread == 0) *held = count < k ? count : k;
    context.sync();
  }
  return *held;
}

}  // namespace xferpipe::cuda
