// The best k entries of a row under the order (score descending, row ascending).
#pragma once
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

// `heap` is a heap whose top is the worst entry kept; a nearer entry takes its place and sinks.
inline void offer(Entry* heap, int64_t k, Entry entry) {
  if (!nearer(entry, heap[0])) return;
  int64_t at = 0;
  for (int64_t child = 1; child < k; child = 2 * at + 1) {
    if (child + 1 < k && nearer(heap[child], heap[child + 1])) ++child;
    if (!nearer(entry, heap[child])) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = entry;
}

}  // namespace xferpipe
