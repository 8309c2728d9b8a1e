// The best k entries of a row under the order (score descending, row ascending).
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

namespace xferpipe {

struct Entry {
  float score;
  int64_t row;
};

inline bool nearer(const Entry& a, const Entry& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

constexpr Entry kNothing = {-std::numeric_limits<float>::infinity(),
                            std::numeric_limits<int64_t>::max()};

// `heap` is a heap whose top is the worst entry kept.
inline void offer(Entry* heap, int64_t k, Entry entry) {
  if (!nearer(entry, heap[0])) return;
  std::pop_heap(heap, heap + k, nearer);
  heap[k - 1] = entry;
  std::push_heap(heap, heap + k, nearer);
}

}  // namespace xferpipe
