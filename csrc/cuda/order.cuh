// The order of a ranking as one unsigned number: smaller keys come first, by falling score and then by
// rising place. And a sort of keys in shared memory.
#pragma once
#include "context.cuh"
#include "split.cuh"

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
        const int a = i / apart * 2 * apart + i % apart, b = a + apart;
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

}  // namespace xferpipe::cuda
